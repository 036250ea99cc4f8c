"""Memory for time: activations of a model's repeated blocks are computed again on the way back.

Kept are the inputs of each block, and what one block needs at a time
(Chen et al., arXiv 1604.06174).
"""

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(model: nn.Module) -> None:
    """Let each block of `model` keep its inputs alone; losses, gradients and names stay.

    Random states are restored, so that dropout is the same both times.
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
