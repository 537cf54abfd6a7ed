"""Random small graphs of the TFLite target's ops, and what may differ when LiteRT runs them.

``drawing`` and ``ops_*`` draw a float graph, ``encodings`` puts Q/DQ into it, ``bounds`` says how
far from ONNX Runtime each element may be, ``structure`` what the file must look like, ``child``
runs LiteRT where its aborts do no harm.
"""
