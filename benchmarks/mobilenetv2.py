"""MobileNetV2 of full width with random weights for 1x3x224x224: speed and size, nothing else.

    python -m benchmarks.mobilenetv2 OUT.onnx

The network is that of the tests' corpus; BatchNormalization is folded by the exporter.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from pathlib import Path

from benchmarks.efficientnet import ROOT

__all__ = ["SHAPE", "write_mobilenet"]

SHAPE = (1, 3, 224, 224)
# Table 2 of the MobileNetV2 paper: expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def write_mobilenet(path: Path) -> Path:
    """Write the network as ONNX in a child process: torch is heavy."""
    command = [sys.executable, "-m", "benchmarks.mobilenetv2", os.fspath(path.absolute())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"MobileNetV2 cannot be written:\n{done.stderr}")
    return path


def main() -> None:
    """Export the network in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests" / "corpus"))
    import networks
    import torch

    torch.manual_seed(0)
    network = networks.MobileNetV2(3, 1000, stem=32, stages=STAGES, last=1280).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(SHAPE),),
            args.output,
            opset_version=17,
            dynamo=False,
            input_names=["input"],
            output_names=["logits"],
        )


if __name__ == "__main__":
    main()
