"""Small ``.tflite`` files for tests, built with LiteRT's own schema and none of qdq's code."""
