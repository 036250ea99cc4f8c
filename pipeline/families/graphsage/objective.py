"""What is minimised: the cross-entropy of the kind of particle of each point."""

from pipeline.nn.graph_losses import particles

__all__ = ["particles"]
