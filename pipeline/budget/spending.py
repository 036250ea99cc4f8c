"""Node-hours against time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.budget.account import Account

Floats = NDArray[np.float64]


def spent(accounts: Sequence[Account], moments: Floats) -> Floats:
    """Return the node-hours charged until each of `moments` (M,); those of a job grow evenly.

    Moments are seconds since 1970. Jobs that have not ended are charged nothing yet.
    """
    total = np.zeros_like(moments)
    for each in accounts:
        if each.charged_node_hours and each.start is not None and each.end is not None:
            done = (moments - each.start) / max(each.end - each.start, 1e-9)
            total += each.charged_node_hours * np.clip(done, 0, 1)
    return total
