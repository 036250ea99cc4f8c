"""Activation checkpointing: the backward pass computes the activations of repeated blocks again.

It trades time for memory: only the inputs of each block are kept, and the activations of one block
at a time (Chen et al., arXiv 1604.06174).
"""

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(model: nn.Module) -> None:
    """Make each block of `model` keep only its inputs; losses, gradients and names do not change.

    Random states are restored, so that both passes draw the same dropout masks.
    """
    for block in blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the elements of the outermost lists of modules in `model`."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks(child)
