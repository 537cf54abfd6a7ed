"""Compile checked graphs for target runtimes."""
