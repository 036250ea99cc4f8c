"""Masked particle modelling, as its authors published it."""
