"""How much a layer's output loses by a candidate, on rows that no candidate was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdq.quantizer.encoding import FloatArray
from qdq.quantizer.rounding.solve import Candidate, LayerProblem

__all__ = ["GateRows", "Judge"]


@dataclass(frozen=True, slots=True)
class GateRows:
    """[groups, elements, positions] of the float and the quantized input."""

    expected: FloatArray
    actual: FloatArray


class Judge:
    """Compares outputs after the layer's Relu or Clip with the float ones."""

    def __init__(self, problem: LayerProblem, gate: GateRows) -> None:
        self._problem, self._gate = problem, gate
        expected = np.matmul(problem.rows, gate.expected) + self._bias(None)
        self._expected = problem.layer.clip(expected)

    def error(self, candidate: Candidate) -> float:
        """Return the mean squared error of the layer's output."""
        actual = np.matmul(candidate.rows, self._gate.actual) + self._bias(candidate.bias)
        difference = self._problem.layer.clip(actual) - self._expected
        return float(np.mean(np.square(difference), dtype=np.float64))

    @property
    def power(self) -> float:
        """The mean square of the float output."""
        return float(np.mean(np.square(self._expected), dtype=np.float64))

    def _bias(self, bias: FloatArray | None) -> npt.NDArray[np.float32]:
        present = self._problem.layer.bias
        if bias is None:
            bias = np.zeros(1, np.float32) if present is None else present.values
        groups, rows = self._problem.rows.shape[:2]
        return np.broadcast_to(bias, (groups * rows,)).reshape(groups, rows, 1)
