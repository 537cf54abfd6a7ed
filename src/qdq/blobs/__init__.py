"""The workbench's bytes: content-addressed files, uploads in parts, signed links."""

from qdq.blobs.local import LocalBlobs, open_blobs

__all__ = ["LocalBlobs", "open_blobs"]
