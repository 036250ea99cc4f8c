"""The coordinates of a tracking chamber, as FM4NPP takes them: eta, phi, r in place of x, y, z."""

from dataclasses import replace

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Doubles, Events

POSITION = ("x", "y", "z")


def cylindrical(events: Events) -> Events:
    """Return `events` with the columns eta, phi, r in place of x, y, z, after all others.

    Raises:
        BadInput: A point lies on the beam line, where eta has no value.
    """
    others = [name for name in events.columns if name not in POSITION]
    x, y, z = (events.column(name).astype(np.float64) for name in POSITION)
    radius: Doubles = np.hypot(x, y)
    if not radius.all():
        message = (
            f"{events.source}: {np.sum(radius == 0)} points lie on the beam line (x = y = 0). "
            "Expected clusters of a tracking detector; make the file again, or leave it out."
        )
        raise BadInput(message)
    # arcsinh(z/r) is arctanh(z/|p|) without its loss of digits at small angles.
    found = [np.arcsinh(z / radius), np.arctan2(y, x), radius]
    columns = [*(events.column(name) for name in others), *found]
    return replace(
        events,
        points=np.column_stack(columns).astype(np.float32),
        columns=(*others, "eta", "phi", "r"),
    )
