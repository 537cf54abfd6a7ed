"""Data tables of the base layer (JSON)."""
