"""Exa.TrkX: a learnt space, a filter of edges, an interaction network (arXiv:2103.06995)."""
