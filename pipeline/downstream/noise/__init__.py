"""Noise tagging: whether a point belongs to no particle of interest."""
