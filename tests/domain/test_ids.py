"""Ids have the form that the client's command line tells kinds apart by."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq.domain.ids import IdKind, is_id, new_id


@pytest.mark.parametrize("kind", IdKind)
def test_new_ids_are_ids_of_their_kind_only(kind: IdKind) -> None:
    made = [new_id(kind) for _ in range(200)]
    assert len(set(made)) == 200
    for text in made:
        assert re.fullmatch(rf"{kind.value}[a-z0-9]{{9}}", text)
        assert [other for other in IdKind if is_id(text, other)] == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "M123",
        "mABC",
        "m12_3",
        "m12-3",
        "m1/2",
        "../m1",
        "m1\n",
        " m1",
        "m1 ",
        "mé",
        "m" * 65,
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    assert not is_id(text, IdKind.MODEL)


@given(st.text(), st.sampled_from(IdKind))
def test_an_id_is_its_letter_then_small_letters_and_digits(text: str, kind: IdKind) -> None:
    good = (
        2 <= len(text) <= 64
        and text[0] == kind.value
        and all(c in "abcdefghijklmnopqrstuvwxyz0123456789" for c in text)
    )
    assert is_id(text, kind) == good


@given(st.from_regex(r"[mdj][a-z0-9]{1,63}", fullmatch=True))
def test_every_well_formed_text_is_an_id_of_one_kind(text: str) -> None:
    assert [kind for kind in IdKind if is_id(text, kind)] == [IdKind(text[0])]
