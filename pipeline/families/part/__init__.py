"""Particle Transformer (Qu, Li, Qian, arXiv:2202.03772): jets by attention with pairwise biases."""
