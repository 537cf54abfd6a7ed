"""Our compilation with a clock inside: ``python -m benchmarks.qnn.inside MODEL BINARY DEVICE``.

Prints CPU seconds as JSON: of the imports, of ``qdq.compile`` in its own process, and of the
processes that it starts.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(model: str, binary: str, device: str) -> None:
    began = time.process_time()
    import qdq.library._compile
    import qdq.library._compile_qnn

    imported = time.process_time()
    options = "--target_runtime qnn_context_binary"
    qdq.library._compile.compile(model, binary, device=device, options=options)
    ended, times = time.process_time(), os.times()
    told = {
        "import_cpu_s": imported - began,
        "own_cpu_s": ended - imported,
        "children_cpu_s": times.children_user + times.children_system,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:4])
