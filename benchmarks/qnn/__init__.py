"""The QNN target on trained networks: what it costs to compile, and how near the NPU computes."""
