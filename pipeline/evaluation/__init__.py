"""Metrics of what was learnt, on numpy arrays."""
