"""What the memory of the head grows with: as of one that looks for clusters."""

from pipeline.downstream.clusters.activations import parameters, terms

__all__ = ["parameters", "terms"]
