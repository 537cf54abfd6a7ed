"""A network run in parts: each part on all samples, before the next part is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from qdq.quantizer.rounding.store import ValueStore
from qdq.runtime.ort import load_session, session_options
from qdq.runtime.session import OrtSession

__all__ = ["PartedNetwork"]

Array = np.ndarray[Any, np.dtype[Any]]


class PartedNetwork:
    """Advances all samples through ``model``, node after node, and keeps what is still read.

    Weights of nodes that are still ahead may be replaced.  One thread runs one session: sums have
    one order.
    """

    def __init__(self, model: ir.Model, samples: int, *, budget: int) -> None:
        proto = ir.to_proto(model)
        self._opsets, self._ir_version = list(proto.opset_import), proto.ir_version
        self._nodes = list(proto.graph.node)
        self._constants = {tensor.name: tensor for tensor in proto.graph.initializer}
        self._inputs = {value.name for value in proto.graph.input} - set(self._constants)
        self.index = {node.name: i for i, node in enumerate(self._nodes)}
        self._last_use = {
            name: i for i, node in enumerate(self._nodes) for name in node.input if name
        }
        self._samples = samples
        self._store = ValueStore(samples, budget=budget)
        self._held: set[str] = set()
        self._position = 0

    def feed(self, sample: int, values: Mapping[str, Array]) -> None:
        """Give a sample's graph inputs."""
        for name in self._inputs & self._last_use.keys():
            self._store.put(name, sample, np.ascontiguousarray(values[name]))
            self._held.add(name)

    @property
    def held(self) -> frozenset[str]:
        """The values that nodes ahead read."""
        return frozenset(self._held)

    def held_value(self, name: str, sample: int) -> Array:
        """Return one of ``held``."""
        return self._store.get(name, sample)

    def value(self, node: str, sample: int, *, position: int = 0) -> Array:
        """Return an input of ``node``, up to which the network has been advanced."""
        return self._store.get(self._nodes[self.index[node]].input[position], sample)

    def replace(self, node: str, position: int, name: str, array: Array) -> None:
        """Make ``array`` the input ``position`` of a node that is still ahead."""
        inputs = self._nodes[self.index[node]].input
        while len(inputs) <= position:
            inputs.append("")
        inputs[position] = name
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)

    def advance(self, node: str) -> None:
        """Run everything before ``node``."""
        self.advance_to(self.index[node])

    def advance_to(self, position: int) -> None:
        """Run the nodes before ``position``, which counts them in graph order."""
        start, end = self._position, max(position, self._position)
        self._position = end
        if start == end:
            return
        part = self._nodes[start:end]
        made = {name for node in part for name in node.output if name}
        read = dict.fromkeys(name for node in part for name in node.input if name)
        given = [name for name in read if name in self._held]
        kept = sorted(name for name in made if self._last_use.get(name, -1) >= end)
        if kept:
            self._run(part, given, kept)
        for name in [name for name in self._held if self._last_use[name] < end]:
            self._store.drop(name)
            self._held.discard(name)

    def close(self) -> None:
        """Free the values."""
        self._store.close()

    def _run(self, part: list[onnx.NodeProto], given: list[str], kept: list[str]) -> None:
        model = self._part_model(part, given, kept)
        # Q/DQ pairs stay what they are in float: integer kernels would round otherwise.
        options = session_options(optimize=True, threads=1, spin=False, integer_kernels=False)
        with OrtSession(load_session(model.SerializeToString(), options)) as session:
            for sample in range(self._samples):
                values = {name: self._store.get(name, sample) for name in given}
                for name, array in zip(kept, session.run_values(values), strict=True):
                    self._store.put(name, sample, array)
        self._held.update(kept)

    def _part_model(
        self, part: list[onnx.NodeProto], given: list[str], kept: list[str]
    ) -> onnx.ModelProto:
        read = {name for node in part for name in node.input}
        graph = onnx.helper.make_graph(
            part,
            "part",
            [_info(name, self._store.get(name, 0)) for name in given],
            [onnx.ValueInfoProto(name=name) for name in kept],
            [tensor for name, tensor in self._constants.items() if name in read],
        )
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        model.ir_version = self._ir_version
        return model


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, element, array.shape)
