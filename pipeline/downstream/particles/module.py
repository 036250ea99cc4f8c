"""Particle identification: the classes of points."""

from pipeline.nn.point_head import answer, build, loss, score

__all__ = ["answer", "build", "loss", "score"]
