"""Cosmotron: raw detector simulation to a scaling law, with every node-hour accounted for."""

__version__ = "0.1.0"
