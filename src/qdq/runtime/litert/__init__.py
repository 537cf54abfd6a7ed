"""Read, run, profile and verify ``.tflite`` files with LiteRT (the package ai-edge-litert).

Only ``session`` and the children import LiteRT; reading and checking a file needs numpy alone.
"""
