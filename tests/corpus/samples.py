"""Real or realistic inputs for the models of the corpus: each function returns n samples.

Photographs come from the scikit-image package, garments from Fashion-MNIST, prose from Python's own
manual.  Text lines, pages and sound are synthesised.  The same arguments give the same samples.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from benchmarks.imagesets import calibration_photos, crops
from PIL import Image, ImageDraw, ImageFont

__all__ = ["chords", "garments", "lines", "pages", "photos", "prose", "voice"]

Sample = dict[str, np.ndarray]
Rng = np.random.Generator


def photos(n: int, seed: int, *, side: int) -> list[Sample]:
    """Return crops of photographs as ``input`` [1, 3, side, side], (pixel - 127) / 128."""
    images = crops(calibration_photos(), n, seed=seed, size=side).images
    return [{"input": image[None]} for image in images]


def garments(n: int, seed: int) -> list[Sample]:
    """Return test images of Fashion-MNIST as ``input`` [1, 1, 28, 28]."""
    test = _garments()
    chosen = np.random.default_rng(seed).permutation(len(test))[:n]
    return [{"input": test[i][None]} for i in chosen]


@lru_cache(maxsize=1)
def _garments() -> np.ndarray:
    from corpus import fashion

    return fashion.images("t10k")


def lines(n: int, seed: int, *, width: int, turned: bool = False) -> list[Sample]:
    """Return rendered text lines as ``x`` [1, 3, 48, width]; with ``turned`` half upside down."""
    rng = random.Random(seed)
    samples = []
    for _ in range(n):
        paper, ink = rng.randrange(200, 256), rng.randrange(0, 80)
        image = Image.new("RGB", (width, 48), (paper,) * 3)
        words = " ".join(_words(rng, max(1, width // 90)))
        ImageDraw.Draw(image).text((6, rng.randrange(4, 14)), words, (ink,) * 3, _font(24))
        if turned and rng.random() < 0.5:
            image = image.rotate(180)
        samples.append({"x": _planes((np.asarray(image, np.float32) / 255.0 - 0.5) / 0.5)})
    return samples


def pages(n: int, seed: int) -> list[Sample]:
    """Return rendered pages of text as ``x`` [1, 3, 640, 480], normalised as the detector wants."""
    rng = random.Random(seed)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    samples = []
    for _ in range(n):
        image = Image.new("RGB", (480, 640), tuple(rng.randrange(190, 256) for _ in range(3)))
        draw, top = ImageDraw.Draw(image), rng.randrange(10, 60)
        while top < 600:
            size = rng.randrange(14, 34)
            text = " ".join(_words(rng, rng.randrange(1, 5)))
            draw.text((rng.randrange(10, 120), top), text, (rng.randrange(0, 90),) * 3, _font(size))
            top += int(size * (1.3 + rng.random()))
        values = (np.asarray(image, np.float32) / 255.0 - mean) / deviation
        samples.append({"x": _planes(values)})
    return samples


def prose(n: int, seed: int, tokenize: Callable[[str], Sample]) -> list[Sample]:
    """Return sentences of Python's manual, as ``tokenize`` makes them."""
    return [tokenize(text) for text in random.Random(seed).sample(_sentences(), n)]


def chords(n: int, seed: int, *, name: str) -> list[Sample]:
    """Return two seconds of plucked notes at 22,050 Hz as ``name`` [1, 43844, 1]."""
    rng, time = np.random.default_rng(seed), np.arange(43844) / 22050
    samples = []
    for _ in range(n):
        sound = 0.003 * rng.standard_normal(len(time))
        for _ in range(int(rng.integers(3, 9))):
            pitch, start = 440 * 2 ** (rng.integers(-24, 25) / 12), 1.6 * rng.random()
            since = np.maximum(time - start, 0)
            decay = np.where(time >= start, np.exp(-3 * since), 0) * rng.uniform(0.1, 0.4)
            overtones = [np.sin(2 * np.pi * pitch * k * since) / k**1.5 for k in range(1, 7)]
            sound += decay * np.sum(overtones, axis=0)
        sound /= max(1.0, float(np.abs(sound).max()))
        samples.append({name: sound.astype(np.float32)[None, :, None]})
    return samples


def voice(n: int, seed: int, step: Callable[[Sample], np.ndarray]) -> list[Sample]:
    """Return consecutive frames of a hummed, pausing voice as ``input`` [1, 576] and ``state``.

    ``step`` runs the model on one sample and returns its next state, so that states are real ones.
    """
    sound = _hum(np.random.default_rng(seed), 64 + 512 * n)
    state, samples = np.zeros((2, 1, 128), np.float32), []
    for frame in range(n):
        samples.append({"input": sound[None, 512 * frame : 512 * frame + 576], "state": state})
        state = step(samples[-1])
    return samples


def _hum(rng: Rng, length: int) -> np.ndarray:
    time = np.arange(length) / 16000
    pitch = 130 + 30 * np.sin(2 * np.pi * 0.7 * time) + 8 * np.sin(2 * np.pi * 5.1 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    centre = 600 + 250 * np.sin(2 * np.pi * 1.9 * time)
    # Partials of the pitch, louder near two moving formants, as vowels have.
    sound = np.zeros(length)
    for partial in range(1, 25):
        distance = (partial * pitch - centre) / 200, (partial * pitch - 2.6 * centre) / 300
        loudness = np.exp(-(distance[0] ** 2)) + 0.5 * np.exp(-(distance[1] ** 2)) + 0.02
        sound += loudness * np.sin(partial * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * time), 0, 1) * (
        np.sin(2 * np.pi * 0.4 * time) > -0.6
    )
    noise = rng.standard_normal(length) * 0.01
    return (0.25 * sound * syllables + noise).astype(np.float32)


def _planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1))[None]


def _words(rng: random.Random, n: int) -> list[str]:
    return [word for text in rng.sample(_sentences(), n) for word in text.split()[:2]]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=1)
def _sentences() -> list[str]:
    from pydoc_data import topics

    text = " ".join(topics.topics[name] for name in sorted(topics.topics))
    sentences = re.split(r"(?<=[.!?])\s+", re.sub(r"[*`\\|_]+|\s+", " ", text))
    return [s.strip() for s in sentences if 30 < len(s) < 300]
