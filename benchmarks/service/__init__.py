"""Figures of the server: its start, what it adds to a job, waiting, load and uploads."""
