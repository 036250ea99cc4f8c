"""Masked particle modelling."""
