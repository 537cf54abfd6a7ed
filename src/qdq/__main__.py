"""``python -m qdq`` is the command ``qdq``."""

from __future__ import annotations

from qdq.cli import main

if __name__ == "__main__":
    main()
