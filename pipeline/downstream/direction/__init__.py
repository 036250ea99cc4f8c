"""Neutrino direction."""
