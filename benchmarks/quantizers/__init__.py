"""Quantizers side by side: each in its own environment, on the same models and data, one judge."""
