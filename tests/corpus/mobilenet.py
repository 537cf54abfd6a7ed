"""The MobileNetV2 topology at width 0.5 with random weights, for 1x3x128x128: speed and structure.

    python mobilenet.py OUT.onnx

BatchNormalization nodes are kept; their scales spread log-normally, as trained MobileNets' do, and
their statistics come from noise images, so that activations keep sane ranges through the depth.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import networks
import torch
from torch import nn

SIDE = 128


def random_network() -> nn.Module:
    """Return the network with seeded weights and settled statistics, in inference mode."""
    torch.manual_seed(0)
    network = networks.wide_mobilenet()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0.0, 0.4)
            module.weight.data.exp_()
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.momentum = None  # statistics become the plain mean over all batches
    network.train()
    with torch.no_grad():
        for _ in range(4):
            coarse = torch.randn(8, 3, SIDE // 8, SIDE // 8)
            network(nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear"))
    return network.eval()


def main() -> None:
    """Export the network in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            random_network(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            args.output,
            opset_version=17,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=["input"],
            output_names=["logits"],
        )


if __name__ == "__main__":
    main()
