"""Fashion-MNIST, and small networks trained on it.

    python fashion.py mbv2|resnet|vit OUT.onnx

trains with fixed seeds and a fixed number of steps (less than a minute on one free core), then
exports with batch 1: ``input`` 1x1x28x28 float32, ``logits`` 1x10.  The residual network keeps its
BatchNormalization nodes; the others are exported with them folded.
"""

from __future__ import annotations

import argparse
import gzip
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DATA", "images", "labels"]

# Where Debian's package dataset-fashion-mnist puts the files.
DATA = Path("/usr/share/datasets/fashion-mnist")
MEAN, DEVIATION = 0.286, 0.353
BATCH = 128
# Steps and peak learning rate: enough for about 85 to 90 % on the test images.
SCHEDULES = {"mbv2": (700, 4e-3), "resnet": (350, 4e-3), "vit": (700, 2e-3)}


def images(split: str) -> np.ndarray:
    """Return the images of ``train`` or ``t10k`` as [n, 1, 28, 28] float32, normalised."""
    raw = gzip.decompress((DATA / f"{split}-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return (pixels.astype(np.float32) / 255.0 - MEAN) / DEVIATION


def labels(split: str) -> np.ndarray:
    """Return the labels of ``train`` or ``t10k`` as [n] int64."""
    raw = gzip.decompress((DATA / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=8).astype(np.int64)


def _train(name: str) -> Any:
    import networks
    import torch
    from torch.nn.functional import cross_entropy

    # One thread: the same sums everywhere, and no waiting for a core that others use.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    makers = {"mbv2": networks.small_mobilenet, "resnet": networks.small_resnet}
    network = makers.get(name, networks.VisionTransformer)()
    x, y = torch.from_numpy(images("train")), torch.from_numpy(labels("train"))
    steps, peak = SCHEDULES[name]
    optimizer = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=0.02)
    network.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * _schedule(step, steps)
        chosen = torch.randint(len(x), (BATCH,))
        batch = x[chosen].flip(3) if step % 2 else x[chosen]
        loss = cross_entropy(network(batch), y[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / 50)
    return warm * max(0.01, 0.5 * (1 + math.cos(math.pi * step / steps)))


def main() -> None:
    """Train and export one network in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("network", choices=list(SCHEDULES))
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    import torch

    network = _train(args.network)
    mode = torch.onnx.TrainingMode
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, 28, 28),),
            args.output,
            opset_version=17,
            dynamo=False,
            training=mode.PRESERVE if args.network == "resnet" else mode.EVAL,
            input_names=["input"],
            output_names=["logits"],
        )
    x, y = torch.from_numpy(images("t10k")[:2000]), torch.from_numpy(labels("t10k")[:2000])
    with torch.no_grad():
        accuracy = (network(x).argmax(1) == y).float().mean()
    print(f"{args.network}: accuracy {accuracy:.3f} on 2000 test images")


if __name__ == "__main__":
    main()
