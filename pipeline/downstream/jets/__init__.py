"""Jet classification."""
