"""Particle identification: the kind of particle that made each point."""
