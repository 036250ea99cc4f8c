"""What is minimised: the velocity of points in noise."""

from pipeline.nn.flow_losses import flow

__all__ = ["flow"]
