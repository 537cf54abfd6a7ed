"""The wire protocol over HTTP: what the official clients speak."""

from qdq.api.app import create_app
from qdq.api.context import Account, ApiLimits

__all__ = ["Account", "ApiLimits", "create_app"]
