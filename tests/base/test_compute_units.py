"""Which compute units a model may be asked to run on."""

import pytest

from qdq.base.compute_units import check_units, unused_units
from qdq.base.errors import OptionError
from qdq.base.options import JobKind, parse_options


def _options(kind, units):
    return parse_options(kind, f"--compute_unit {units}" if units else "")


@pytest.mark.parametrize("kind", [JobKind.PROFILE, JobKind.COMPILE])
@pytest.mark.parametrize(
    ("qnn", "units", "told"),
    [
        (True, "", None),
        (True, "all", None),
        (True, "npu", None),
        (True, "npu,cpu", "cpu have no part"),
        (True, "gpu,npu,cpu", "gpu and cpu have no part"),
        (False, "", None),
        (False, "all", None),
        (False, "cpu", None),
        (False, "npu,cpu", "npu cannot be used on this machine, so the CPU does it all"),
        (False, "cpu,gpu,npu", "gpu and npu cannot be used"),
    ],
)
def test_what_runs_the_model_is_among_them(kind, qnn, units, told):
    options = _options(kind, units)
    check_units(options, qnn=qnn)
    found = unused_units(options, qnn=qnn)
    assert (found is None) == (told is None)
    assert told is None or told in str(found)


@pytest.mark.parametrize("kind", [JobKind.PROFILE, JobKind.COMPILE])
@pytest.mark.parametrize(
    ("qnn", "units", "asked", "remedy"),
    [
        (True, "cpu", "CPU", "npu or all"),
        (True, "gpu", "GPU", "npu or all"),
        (True, "cpu,gpu", "the CPU or a GPU", "npu or all"),
        (False, "npu", "NPU", "cpu or all"),
        (False, "gpu", "GPU", "cpu or all"),
        (False, "npu,gpu", "an NPU or a GPU", "cpu or all"),
    ],
)
def test_others_are_refused_with_what_to_give(kind, qnn, units, asked, remedy):
    with pytest.raises(OptionError, match=asked) as caught:
        check_units(_options(kind, units), qnn=qnn)
    assert f"--compute_unit {units}" in str(caught.value)
    assert remedy in str(caught.value)
