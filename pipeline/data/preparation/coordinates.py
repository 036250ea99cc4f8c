"""FM4NPP's coordinates: energy, eta, phi, r in place of energy, x, y, z."""

from dataclasses import replace

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Doubles, Events

CYLINDRICAL = ("energy", "eta", "phi", "r")


def cylindrical(events: Events) -> Events:
    """Return `events` with the columns energy, eta, phi, r in place of energy, x, y, z.

    Raises:
        BadInput: A point lies on the beam line, where eta has no value.
    """
    energy, x, y, z = (events.column(name).astype(np.float64) for name in events.columns)
    radius: Doubles = np.hypot(x, y)
    if not radius.all():
        message = (
            f"{events.source}: {np.sum(radius == 0)} points lie on the beam line (x = y = 0). "
            "Expected clusters of a tracking detector; make the file again, or leave it out."
        )
        raise BadInput(message)
    # arcsinh(z/r) is arctanh(z/|p|) without its loss of digits at small angles.
    columns = [energy, np.arcsinh(z / radius), np.arctan2(y, x), radius]
    return replace(events, points=np.column_stack(columns).astype(np.float32), columns=CYLINDRICAL)
