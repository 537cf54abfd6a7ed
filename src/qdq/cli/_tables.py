"""Results as tables and lines, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from rich.console import RenderableType
from rich.table import Table

if TYPE_CHECKING:
    from qdq.library import CompileResult, Inspection, QuantizeResult, RunResult

__all__ = [
    "compiled",
    "inspected",
    "number",
    "plain_table",
    "quantized",
    "ran",
    "shape_text",
    "size_text",
    "written",
]

_MOST_OPS = 12
_PAIR_NAMES = {
    "onnx": ("QuantizeLinear", "DequantizeLinear"),
    "tflite": ("QUANTIZE", "DEQUANTIZE"),
}


class _Tensor(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int | str | None, ...] | None: ...

    @property
    def scale(self) -> float | None: ...

    @property
    def zero_point(self) -> int | None: ...


def quantized(result: QuantizeResult) -> Iterator[RenderableType]:
    """Yield the report's lines and the files that were written."""
    notices = {f"notice: {text}" for text in result.notices}
    yield "\n".join(line for line in result.report.summary_lines() if line not in notices)
    yield from written(result.output, *result.report_files)


def compiled(result: CompileResult) -> Iterator[RenderableType]:
    """Yield the target and the interface of the compiled model."""
    precision = result.precision or "float"
    yield f"{precision} model for {result.target_runtime} on {result.device}"
    yield interface(result.input_spec, result.output_spec)
    if result.qnn is not None:
        from qdq.cli._tables_qnn import binary_lines

        yield from binary_lines(result.qnn)
    yield from written(result.output, result.source)


def ran(result: RunResult) -> Iterator[RenderableType]:
    """Yield the outputs that were written."""
    table = plain_table("output", "dtype", "shape")
    for info in result.tensors:
        table.add_row(info.name, info.dtype, shape_text(info.shape))
    yield f"{result.samples} samples, {result.runtime}"
    yield table
    yield from written(result.output)


def inspected(result: Inspection) -> Iterator[RenderableType]:
    """Yield what a model is."""
    opsets = ", ".join(f"{domain} {version}" for domain, version in result.opsets.items())
    version = f"IR {result.ir_version}, opset {opsets}" if opsets else f"{result.ir_version}"
    if result.qnn is not None:
        from qdq.cli._tables_qnn import binary_lines

        yield from binary_lines(result.qnn)
        yield interface(result.input_spec, result.output_spec)
        return
    yield (
        f"{result.format} ({version})"
        + (f", made by {result.producer}" if result.producer else "")
        + f"\n{result.parameters:,} parameters, {size_text(result.parameter_bytes)}"
    )
    yield interface(result.input_spec, result.output_spec)
    yield _ops(result.ops)
    found = result.quantization
    if found.precision is not None:
        quantize, dequantize = _PAIR_NAMES.get(result.format, _PAIR_NAMES["onnx"])
        yield (
            f"quantized {found.precision}: {found.quantize_nodes} {quantize}, "
            f"{found.dequantize_nodes} {dequantize}\n"
            f"weights {_tally(found.weights)}; activations {_tally(found.activations)}"
        )
    if result.hazards:
        table = plain_table("hazard", "where")
        for hazard in result.hazards:
            table.add_row(hazard.kind, hazard.detail)
        yield table


def interface(inputs: Iterable[_Tensor], outputs: Iterable[_Tensor]) -> Table:
    """Return the table of inputs and outputs, with encodings where there are any."""
    rows = [("input", it) for it in inputs] + [("output", it) for it in outputs]
    encoded = any(it.scale is not None for _, it in rows)
    table = plain_table("", "name", "dtype", "shape", *(("encoding",) if encoded else ()))
    for what, it in rows:
        cells = [what, it.name, it.dtype, shape_text(it.shape)]
        if encoded:
            cells.append(
                "" if it.scale is None else f"scale {it.scale:.6g}, zero point {it.zero_point}"
            )
        table.add_row(*cells)
    return table


def plain_table(*columns: str, right: Iterable[str] = ()) -> Table:
    """Return an empty table without lines; the columns named in ``right`` align right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def shape_text(shape: Iterable[int | str | None] | None) -> str:
    """Return such as ``1x3x224x224``; ``?`` for an unknown dimension."""
    if shape is None:
        return "unknown"
    return "x".join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def size_text(size: int) -> str:
    """Return bytes in the unit that suits."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def number(value: float | None, form: str) -> str:
    """Return a formatted number, or a dash for None."""
    return "-" if value is None else format(value, form)


def _ops(ops: dict[str, int]) -> Table:
    table = plain_table("op", "count", right=("count",))
    for op, count in list(ops.items())[:_MOST_OPS]:
        table.add_row(op, str(count))
    if len(ops) > _MOST_OPS:
        rest = list(ops.values())[_MOST_OPS:]
        table.add_row(f"{len(rest)} more ops", str(sum(rest)))
    return table


def _tally(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {dtype}" for dtype, count in counts.items()) or "none"


def written(*paths: object) -> Iterator[RenderableType]:
    """Yield the files that were written, where there are any."""
    lines = [f"wrote {path}" for path in paths if path is not None]
    if lines:
        yield "\n".join(lines)
