"""Noise tagging: the classes of points, of which one is noise."""

from pipeline.nn.point_head import answer, build, loss, score

__all__ = ["answer", "build", "loss", "score"]
