"""Noise tagging: the classes of points, of which one is noise."""

from pipeline.downstream.particles.module import build, loss, predict

__all__ = ["build", "loss", "predict"]
