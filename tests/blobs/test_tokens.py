"""Tokens: only ours, only for their verb, only in time."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.base.errors import InternalError
from qdq.blobs import LocalBlobs, open_blobs
from qdq.blobs.tokens import Signer

NAME = f"blob/{'a' * 64}/model ü%/..?.onnx"


def test_a_token_gives_its_name_back_until_it_expires(room: Any) -> None:
    token = room.blobs.sign("GET", NAME, seconds=10)
    assert room.blobs.verify(token, "GET") == NAME
    room.time[0] += 9
    assert room.blobs.verify(token, "GET") == NAME
    room.time[0] += 1
    assert room.blobs.verify(token, "GET") is None


def test_a_token_outlives_the_process_and_not_the_secret(room: Any) -> None:
    token = room.blobs.sign("GET", NAME, seconds=10)
    assert room.reopen().verify(token, "GET") == NAME
    assert room.reopen(b"t" * 32).verify(token, "GET") is None


@pytest.mark.parametrize("verb", ["PUT", "POST", "get", "", "GET\n", "GET\n1000010"])
def test_a_token_is_for_one_verb(blobs: LocalBlobs, verb: str) -> None:
    token = blobs.sign("GET", NAME, seconds=10)
    assert blobs.verify(token, verb) is None


def test_no_character_of_a_token_may_change(blobs: LocalBlobs) -> None:
    token = blobs.sign("GET", NAME, seconds=10)
    for place, character in enumerate(token):
        for other in "a2-9zA":
            if other != character:
                changed = f"{token[:place]}{other}{token[place + 1 :]}"
                assert blobs.verify(changed, "GET") is None
        assert blobs.verify(token[:place], "GET") is None
    for changed in (f"{token}a", f"0{token}", f" {token}", f"{token}\n", token.upper()):
        assert blobs.verify(changed, "GET") is None


@given(st.text())
def test_any_text_is_refused_quietly(token: str) -> None:
    assert Signer(b"s" * 32).verify(token, "GET") is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.text(max_size=8))
def test_any_name_comes_back_and_needs_no_quoting(name: str, verb: str) -> None:
    verb = verb.encode(errors="ignore").decode()
    signer = Signer(b"s" * 32, clock=lambda: 5.0)
    token = signer.sign(verb, name, seconds=1)
    assert re.fullmatch(r"[a-z0-9-]+", token)
    assert signer.verify(token, verb) == name


def test_a_weak_secret_is_refused(tmp_path: Any) -> None:
    with pytest.raises(InternalError, match="16 bytes"):
        open_blobs(tmp_path, secret=b"short")
