"""Write traced.pt, exported.pt2 and their samples into a folder; run as a script, for torch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class Net(nn.Module):
    """image (1, 3, 16, 16) -> (1, 5)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(image)).mean((2, 3)))


def main(folder: Path) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    image = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(net, image), str(folder / "traced.pt"))
        torch.export.save(torch.export.export(net, (image,)), str(folder / "exported.pt2"))
        expected = net(image)
    np.savez(folder / "torch.npz", image=image.numpy(), expected=expected.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
