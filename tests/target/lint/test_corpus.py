"""Real networks: the lint says errors where the compiler refuses, and none where it compiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import qdq
from corpus.models import MODEL_IDS

# Loops and recurrent state: nobody compiles it for HTP, and it has dynamic shapes inside.
NOT_FOR_HTP = ("silero",)


@pytest.mark.medium
@pytest.mark.timeout(600)
@pytest.mark.parametrize("model_id", [it for it in MODEL_IDS if it not in NOT_FOR_HTP])
def test_errors_are_what_the_compiler_refuses(
    model_id: str, corpus_model: Path, takes: Callable[..., bool]
) -> None:
    del takes  # only skips where the compiler is not installed
    found = qdq.lint(corpus_model, target="htp-v75")
    options = "--target_runtime qnn_context_binary"
    if not found.errors:
        qdq.compile(corpus_model, device="Samsung Galaxy S24", options=options)
        return
    with pytest.raises(qdq.QdqError) as caught:
        qdq.compile(corpus_model, device="Samsung Galaxy S24", options=options)
    named = {it.node for it in found.findings if it.node is not None}
    assert any(f"'{name}'" in str(caught.value) for name in named), str(caught.value)
