"""Running over samples: order, names, and the check before anything runs."""

import numpy as np
import pytest

from qdq.base.errors import DatasetError
from qdq.dataset import open_samples
from qdq.runtime.run import iter_run, run_model
from qdq.runtime.session import open_session


def test_results_in_the_order_of_samples(parse):
    model = parse(
        "g (float[N,2] x, int64[N] i) => (float[N,2] y, int64[N] j) { y = Neg(x) j = Add(i, i) }"
    )
    data = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "i": np.arange(3)}
    with open_samples(data) as samples:
        found = run_model(model, samples)
    assert list(found) == ["y", "j"]
    np.testing.assert_array_equal(np.concatenate(found["y"]), -data["x"])
    np.testing.assert_array_equal(np.concatenate(found["j"]), [0, 2, 4])
    assert [array.shape for array in found["y"]] == [(1, 2)] * 3


def test_outputs_are_chosen(float_model):
    data = {"x": np.ones((2, 4), np.float32)}
    with open_samples(data) as samples:
        assert list(run_model(float_model, samples, outputs=["r", "h"])) == ["r", "h"]


def test_iter_run_is_lazy(float_model):
    reads = []

    class Counting:
        def __init__(self, samples):
            self._samples = samples

        def __getattr__(self, name):
            return getattr(self._samples, name)

        def __len__(self):
            return len(self._samples)

        def __iter__(self):
            for index in range(len(self)):
                reads.append(index)
                yield self._samples[index]

    data = {"x": np.ones((5, 4), np.float32)}
    with open_samples(data) as samples, open_session(float_model) as session:
        steps = iter_run(session, Counting(samples))
        next(steps)
        assert reads == [0]
        next(steps)
        assert reads == [0, 1]


@pytest.mark.parametrize(
    "data",
    [
        {"x": np.ones((2, 5), np.float32)},
        {"x": np.ones((2, 4), np.float16)},
        {"q": np.ones((2, 4), np.float32)},
    ],
)
def test_wrong_samples(float_model, data):
    with open_samples(data) as samples, pytest.raises(DatasetError):
        run_model(float_model, samples)
