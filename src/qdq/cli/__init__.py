"""The command ``qdq``: the library from a shell."""

from qdq.cli._app import app, main

__all__ = ["app", "main"]
