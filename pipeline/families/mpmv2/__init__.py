"""Masked particle modelling with a decoder and seven tasks, our reading of MPMv2."""
