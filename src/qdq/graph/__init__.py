"""Models as graphs: load, check, simplify and save ONNX."""
