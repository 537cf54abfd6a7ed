"""Small networks as torch modules: MobileNetV2, a residual network and a vision transformer.

Imported only by the child processes that train or export them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["MobileNetV2", "VisionTransformer", "small_mobilenet", "small_resnet", "wide_mobilenet"]

# Stages of MobileNetV2: expansion, channels, blocks, stride of the first block.
Stage = tuple[int, int, int, int]
SMALL_STAGES: tuple[Stage, ...] = ((1, 16, 1, 1), (4, 24, 2, 2), (4, 40, 2, 2), (4, 64, 1, 1))
# Table 2 of the MobileNetV2 paper at width 0.5, channels rounded to multiples of 8.
HALF_WIDTH_STAGES: tuple[Stage, ...] = (
    (1, 8, 1, 1),
    (6, 16, 2, 2),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)


def conv_norm(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution that keeps the size (at stride 1) and its batch normalisation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Inverted(nn.Module):
    """Inverted residual block: expand, depthwise, project; added to its input where shapes fit."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*conv_norm(inputs, hidden, kernel=1), nn.ReLU6()]
        layers += [*conv_norm(hidden, hidden, stride=stride, groups=hidden), nn.ReLU6()]
        self.body = nn.Sequential(*layers, *conv_norm(hidden, outputs, kernel=1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 of any stages."""

    def __init__(
        self, channels: int, classes: int, *, stem: int, stages: Sequence[Stage], last: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [*conv_norm(channels, stem, stride=2), nn.ReLU6()]
        width = stem
        for expansion, outputs, blocks, stride in stages:
            for block in range(blocks):
                step = stride if block == 0 else 1
                layers.append(Inverted(width, outputs, stride=step, expansion=expansion))
                width = outputs
        layers += [*conv_norm(width, last, kernel=1), nn.ReLU6()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


def small_mobilenet() -> nn.Module:
    """Return the MobileNetV2 for 1x28x28 inputs."""
    return MobileNetV2(1, 10, stem=16, stages=SMALL_STAGES, last=192)


def wide_mobilenet() -> nn.Module:
    """Return the full topology at width 0.5 for 3-channel images."""
    return MobileNetV2(3, 1000, stem=16, stages=HALF_WIDTH_STAGES, last=640)


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm(inputs, outputs, stride=stride),
            nn.ReLU(),
            *conv_norm(outputs, outputs),
        )
        same = stride == 1 and inputs == outputs
        projection = conv_norm(inputs, outputs, kernel=1, stride=stride)
        self.shortcut = nn.Identity() if same else nn.Sequential(*projection)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def small_resnet() -> nn.Module:
    """Return a residual network of five blocks for 1x28x28 inputs."""
    shapes = ((16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
    blocks = [Residual(i, o, stride=stride) for i, o, stride in shapes]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*conv_norm(1, 16), nn.ReLU(), *blocks, *head)


class Encoder(nn.Module):
    """Pre-norm transformer block with explicit attention, as exporters write it out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        split = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5, dim=-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Three-block vision transformer for 1x28x28 inputs, with a class token."""

    def __init__(self, width: int = 64, heads: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 50, width) * 0.02)
        self.blocks = nn.Sequential(*[Encoder(width, heads) for _ in range(depth)])
        self.norm, self.classifier = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1)
        return self.classifier(self.norm(self.blocks(tokens + self.positions))[:, 0])
