"""What is minimised: the cross-entropy of the class of a jet."""

from pipeline.nn.class_losses import classes

__all__ = ["classes"]
