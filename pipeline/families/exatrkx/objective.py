"""What is minimised: the losses of the three stages."""

from pipeline.nn.graph_losses import edges, filtered, metric

__all__ = ["edges", "filtered", "metric"]
