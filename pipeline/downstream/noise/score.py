"""The scores of noise tagging, those of classes of points."""

from pipeline.downstream.particles.score import score

__all__ = ["score"]
