"""The messages that server and clients exchange: ``from qdq.api.wire import workbench_pb2 as pb``.

``workbench.proto`` is the source; ``scripts/make_wire.sh`` makes the two modules from it.
"""
