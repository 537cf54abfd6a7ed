"""The error tree: sentences, places, JSON form, wire failure types."""

from __future__ import annotations

import json

import pytest

from qdq.base import errors
from qdq.base.errors import FailureType, ModelInvalidError, QdqError, SpecError

LEAVES = sorted(QdqError.__subclasses__(), key=lambda leaf: leaf.__name__)

# JobFailureType of the client's protobuf, version 0.56.
WIRE = {
    "OptionError": 13001,
    "SpecError": 13001,
    "PrecisionError": 13001,
    "DatasetError": 13000,
    "ModelCorruptError": 13002,
    "ModelInvalidError": 13003,
    "UnsupportedError": 3,
    "AccuracyError": 3,
    "MissingDependencyError": 2003,
    "OutputError": 2002,
    "ChildCrashError": 2001,
    "ChildMemoryError": 2004,
    "ChildTimeoutError": 12000,
    "NotFoundError": 13001,
    "RequestError": 13001,
    "TooLargeError": 13001,
    "VerificationError": 1001,
    "InternalError": 1001,
}


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_leaf(leaf: type[QdqError]) -> None:
    assert leaf.failure_type == WIRE[leaf.__name__]
    assert leaf.__name__ in errors.__all__
    assert leaf.__doc__
    assert f"{leaf.__name__} " in (errors.__doc__ or "")
    assert leaf.failure_type.name in (errors.__doc__ or "")


def test_the_tree_is_complete() -> None:
    assert {leaf.__name__ for leaf in LEAVES} == WIRE.keys()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({}, "It broke. Mend it."),
        ({"node": "conv"}, "Node 'conv': It broke. Mend it."),
        ({"node": "conv", "op_type": "Conv"}, "Node 'conv' (Conv): It broke. Mend it."),
        ({"op_type": "Conv"}, "Op Conv: It broke. Mend it."),
        ({"tensor": "x"}, "Tensor 'x': It broke. Mend it."),
        (
            {"node": "conv", "op_type": "Conv", "tensor": "x"},
            "Node 'conv' (Conv), tensor 'x': It broke. Mend it.",
        ),
    ],
)
def test_sentence(place: dict[str, str], sentence: str) -> None:
    assert str(ModelInvalidError("It broke", remedy="Mend it.", **place)) == sentence


def test_json_form() -> None:
    error = SpecError("No such input", remedy="Use 'x'", tensor="y")
    assert json.loads(json.dumps(error.to_dict())) == {
        "error": "SpecError",
        "message": "Tensor 'y': No such input. Use 'x'.",
        "cause": "No such input",
        "remedy": "Use 'x'",
        "node": None,
        "op_type": None,
        "tensor": "y",
        "failure_type": FailureType.INVALID_ARGUMENT,
    }


def test_a_remedy_is_optional() -> None:
    assert str(QdqError("It broke")) == "It broke."
