"""ONNX's own node tests against the TFLite target; ``python -m onnx_nodes`` writes the table.

``select`` says which tests count, ``bind`` makes constants of what no network computes,
``execute`` compiles and runs them in children, ``table`` reads what is expected of each.
"""
