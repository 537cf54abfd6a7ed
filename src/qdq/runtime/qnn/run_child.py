"""The child that runs a compiled graph on the HTP simulator: samples in files, outputs in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qdq.base.child_side import child_main
from qdq.base.errors import ChildMemoryError, ModelInvalidError, QdqError
from qdq.base.progress import Progress
from qdq.runtime.qnn.provider import ProviderError, open_provider_session

__all__ = ["INPUTS", "OUTPUTS", "PROFILE", "work"]

INPUTS, OUTPUTS, PROFILE = "inputs", "outputs", "profile.csv"
_MEMORY = ("bad_alloc", "Failed to allocate memory")
_LONGEST = 600


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run the wrapper ``model`` of ``spec`` on ``samples`` samples and write what comes out.

    Sample k has its inputs in ``inputs/k_i.npy``, in the order of the names ``inputs``; outputs
    are written likewise.  With ``profile`` the names of the ops that ran are written as well.
    """
    options = {"profiling_level": "detailed", "profiling_file_path": PROFILE}
    try:
        session = open_provider_session(
            spec["model"], options=options if spec["profile"] else {}, optimize=False
        )
    except ProviderError as error:
        raise _load_failure(error) from error
    for index in range(spec["samples"]):
        feed = {
            name: np.load(Path(INPUTS, f"{index}_{place}.npy"), allow_pickle=False)
            for place, name in enumerate(spec["inputs"])
        }
        try:
            found = session.run(spec["outputs"], feed)
        except Exception as error:
            raise _run_failure(str(error)) from error
        for place, array in enumerate(found):
            np.save(Path(OUTPUTS, f"{index}_{place}.npy"), array, allow_pickle=False)
        progress.advance()
    # The profile is written when the session ends.
    del session
    return {"samples": spec["samples"]}


def _load_failure(error: ProviderError) -> QdqError:
    told = "; ".join(dict.fromkeys((*error.log[-2:], error.message)))
    return _failure("The HTP simulator cannot load the context binary", told)


def _run_failure(message: str) -> QdqError:
    return _failure("The HTP simulator fails while it runs the model", message)


def _failure(what: str, text: str) -> QdqError:
    readable = " ".join(text.split())[:_LONGEST]
    if any(part in text for part in _MEMORY):
        return ChildMemoryError(f"{what}: {readable}", remedy="Use a machine with more memory")
    return ModelInvalidError(
        f"{what}: {readable}",
        remedy="Compile the model again, with the QAIRT version that is installed here",
    )


if __name__ == "__main__":
    child_main(work)
