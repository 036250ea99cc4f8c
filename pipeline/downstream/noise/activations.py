"""What the memory of the head grows with: as of all heads on points."""

from pipeline.downstream.point_growth import parameters, terms

__all__ = ["parameters", "terms"]
