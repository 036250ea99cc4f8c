"""The random states of a process: of each step anew, by the seed of the training and the rank.

What belongs to an event, masks and noise, does not come from here (`pipeline.nn.draws`). Dropout
does, and whatever code asks torch, numpy or Python for a number: to draw a number for each channel
of each point by its event would cost more than the layer that it drops. So processes have streams
of their own, and a resume, which knows the step, goes on with the same.
"""

import hashlib
import random

import numpy as np
import torch

STREAMS = 2**32


def begin_step(seed: int, step: int, rank: int) -> None:
    """Begin the random numbers of the process `rank` for a step; no other process has them then."""
    digest = hashlib.blake2b(f"{seed} {step}".encode(), digest_size=8).digest()
    state = (int.from_bytes(digest, "little") + rank) % STREAMS
    random.seed(state)
    np.random.seed(state)  # noqa: NPY002
    torch.manual_seed(state)
