"""FM4NPP's coordinates: energy, eta, phi, r, and their normalisation."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Doubles, Events, Floats

COLUMNS = ("energy", "eta", "phi", "r")
UNITS = ("ADC", "1", "rad", "cm")


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from each column, then what it is divided by."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, points: Array) -> Floats:
        """Return `points` (P, 4) normalised: energy to mean 0 and width 1, the rest to [0, 1]."""
        normal = (points.astype(np.float64) - self.offset) / self.scale
        return normal.astype(np.float32)


# The constants that FM4NPP (arXiv:2508.14087) took from TPCpp-10M; eta in [-2, 2], phi in [-π, π].
RADII_CM = (31.371997833251953, 75.38493347167969)
SPHENIX = Normalisation(
    offset=(253.0982, -2.0, -np.pi, RADII_CM[0]),
    scale=(268.7093, 4.0, 2 * np.pi, RADII_CM[1] - RADII_CM[0]),
)


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
            "Expected clusters of the TPC; make the file again, or leave it out."
        )
        raise BadInput(message)
    # arcsinh(z/r) is arctanh(z/|p|) without its loss of digits at small angles.
    columns = [energy, np.arcsinh(z / radius), np.arctan2(y, x), radius]
    return replace(events, points=np.column_stack(columns).astype(np.float32), columns=COLUMNS)
