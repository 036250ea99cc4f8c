"""Vertex finding: which particles of a jet were made at one place."""
