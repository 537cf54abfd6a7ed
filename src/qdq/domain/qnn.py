"""What the workbench keeps of a model compiled for QNN: facts that its binary told when read back.

They are ``Inspection.details["qnn"]``, with the keys ``soc_model``, ``chipset``, ``hexagon``,
``graph_names``, ``build_id``, ``vtcm_mb`` and more; a DLC, which is for no chip, has some empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdq.domain.records import Inspection

__all__ = ["QNN_RUNTIMES", "metadata_of", "qnn_facts"]

# Target runtimes, and the formats of their models.
QNN_RUNTIMES = ("qnn_context_binary", "precompiled_qnn_onnx", "qnn_dlc")

# The wire's ModelMetadataKey, and the fact behind it.
_KEYS = {
    3: "build_id",
    30: "graph_names",
    31: "hexagon",
    32: "soc_model",
    33: "backend",
    34: "vtcm_mb",
    35: "optimization_level",
}


def qnn_facts(inspection: Inspection | None) -> Mapping[str, Any]:
    """Return the facts; empty for a model that is not compiled for QNN, or not read yet."""
    found = None if inspection is None else inspection.details.get("qnn")
    return found if isinstance(found, Mapping) else {}


def metadata_of(inspection: Inspection | None) -> dict[int, str]:
    """Return the facts as clients show them: text by the wire's keys, none that is not known.

    Graph names are separated by commas, the version is that of the SDK that compiled.
    """
    facts = qnn_facts(inspection)
    found = {}
    for key, name in _KEYS.items():
        value = facts.get(name)
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if value not in (None, ""):
            found[key] = str(value)
    return found
