"""What is minimised: distances in the learned space."""

from pipeline.nn.graph_losses import metric

__all__ = ["metric"]
