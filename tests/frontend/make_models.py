"""Build the torch models of these tests, with inputs and torch's own outputs; run as a script.

``python make_models.py FOLDER [NAME...]`` writes NAME.pt or NAME.pt2 and NAME.npz, where inputs
are in0, in1, ... and outputs out0, out1, ...
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)
        # Only its weight is used: in the trace it is a module without a forward.
        self.bias = nn.Linear(1, 5)
        for statistic in (self.norm.running_mean, self.norm.running_var, self.norm.weight):
            nn.init.uniform_(statistic, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(self.pool(self.act(self.norm(self.conv(x)))).flatten(1))
        return x + self.bias.weight.flatten()


class Mixed(nn.Module):
    """int64 indices, a bool mask, an input that is not used, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)

    def forward(self, ids: Tensor, mask: Tensor, unused: Tensor) -> dict[str, Tensor]:
        rows = self.table(ids)
        kept = torch.where(mask.unsqueeze(-1), rows, torch.zeros_like(rows))
        return {"sum": kept.sum(1), "count": mask.sum(1)}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + torch.softmax(q @ k.transpose(-1, -2) / 4.0, -1) @ v
        return x + self.mlp(self.norm(x))


class Bytes(nn.Module):
    """A uint8 image, cast inside."""

    def forward(self, image: Tensor) -> Tensor:
        return image.float() / 255 - 0.5


class Nested(nn.Module):
    """Arguments and results in tuples, an optional argument, a number with a default."""

    def forward(
        self, pair: tuple[Tensor, Tensor], third: Tensor | None = None, n: int = 3
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        a, b = pair
        if third is not None:
            a = a + third
        return a * n, (b, a.amax(1))


class OnCuda(nn.Module):
    """Scripted where there was a GPU: the device is written into the code."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones([4], device=torch.device("cuda:0"))


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


class Through(nn.Module):
    """The second output is the second input."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, y


class NoForward(nn.Module):
    @torch.jit.export
    def other(self, x: Tensor) -> Tensor:
        return x


IMAGE = torch.rand(1, 3, 16, 16)
MIXED = (
    torch.tensor([[1, 9, 3]]),
    torch.tensor([[True, False, True]]),
    torch.zeros(1, 2),
)
PAIR = (torch.rand(1, 4), torch.rand(1, 4))


def save_traced(path: Path, module: nn.Module, inputs: tuple) -> None:
    module = module.eval()
    torch.jit.trace(module, inputs, strict=False).save(str(path))
    record(path, module, inputs)


def save_scripted(path: Path, module: nn.Module, inputs: tuple, *, run: bool = True) -> None:
    scripted = torch.jit.script(module.eval())
    scripted.save(str(path))
    if run:
        record(path, scripted, inputs)


def save_program(path: Path, module: nn.Module, inputs: tuple, **options: object) -> None:
    module = module.eval()
    torch.export.save(torch.export.export(module, inputs, **options), path)
    record(path, module, inputs)


def record(path: Path, module: nn.Module, inputs: tuple) -> None:
    with torch.no_grad():
        results = flat(module(*inputs))
    arrays = {f"in{k}": t.numpy() for k, t in enumerate(flat(inputs))}
    arrays |= {f"out{k}": t.numpy() for k, t in enumerate(results)}
    np.savez(path.with_suffix(".npz"), **arrays)


def flat(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [tensor for part in parts for tensor in flat(part)]


def batch() -> object:
    return torch.export.Dim("batch", min=1, max=8)


RECIPES = {
    "conv.pt": lambda p: save_traced(p, Conv(), (IMAGE,)),
    "mixed.pt": lambda p: save_traced(p, Mixed(), MIXED),
    "attention.pt": lambda p: save_traced(p, Attention(), (torch.rand(1, 6, 16),)),
    "bytes.pt": lambda p: save_traced(
        p, Bytes(), (torch.randint(0, 255, (1, 4, 4, 3), dtype=torch.uint8),)
    ),
    "half.pt": lambda p: save_traced(p, nn.ReLU(), (torch.rand(1, 4).half() - 0.5,)),
    "nested.pt": lambda p: save_scripted(p, Nested(), (PAIR,)),
    "cuda.pt": lambda p: save_scripted(p, OnCuda(), (PAIR[0],), run=False),
    "noforward.pt": lambda p: save_scripted(p, NoForward(), (), run=False),
    "unsupported.pt": lambda p: save_traced(p, Unsupported(), (PAIR[0],)),
    "through.pt": lambda p: save_traced(p, Through(), PAIR),
    "pickled.pt": lambda p: torch.save(nn.Linear(2, 2), p),
    "weights.pth": lambda p: torch.save(nn.Linear(2, 2).state_dict(), p),
    "legacy.pth": lambda p: torch.save(
        nn.Linear(2, 2).state_dict(), p, _use_new_zipfile_serialization=False
    ),
    "conv2.pt2": lambda p: save_program(p, Conv(), (IMAGE,)),
    "dynamic.pt2": lambda p: save_program(
        p, Conv(), (torch.rand(2, 3, 16, 16),), dynamic_shapes=({0: batch()},)
    ),
    "mixed2.pt2": lambda p: save_program(p, Mixed(), MIXED),
    "unsupported2.pt2": lambda p: save_program(p, Unsupported(), (PAIR[0],)),
}


def main() -> None:
    warnings.simplefilter("ignore")
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    for name in names or RECIPES:
        torch.manual_seed(0)
        RECIPES[name](folder / name)


if __name__ == "__main__":
    main()
