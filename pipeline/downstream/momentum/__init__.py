"""Momentum regression: the transverse momentum of the particle that made each point."""
