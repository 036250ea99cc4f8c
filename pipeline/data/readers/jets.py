"""What all files of jets have in common, whatever their format."""

import numpy as np
import numpy.typing as npt

from pipeline.data.errors import BadInput
from pipeline.data.events import Array, Events, Floats, Mask
from pipeline.data.experiment import Rejected
from pipeline.data.experiments.jetclass import JET, TAU


def exact_charge(source: str, values: Array) -> npt.NDArray[np.int8]:
    """Return charges (P), as whole numbers of one byte.

    Raises:
        BadInput: One is no whole number, or too large for a particle.
    """
    with np.errstate(invalid="ignore"):
        charge = values.astype(np.int8)
    if not np.array_equal(charge, values):
        message = (
            f"{source}: part_charge holds values that are no charge; expected whole numbers. "
            "Take the file as it was released."
        )
        raise BadInput(message)
    return charge


def checked(events: Events, counted: Array, faults: dict[str, Mask]) -> tuple[Events, Rejected]:
    """Return the jets without a fault, and how many have which as their first.

    To the `faults` (E) come `wrong_particle_count`: there are other than `counted` (E) particles;
    and `jet_not_finite`: NaN or infinity in what the file says of the jet.
    """
    of_jet = [events.per_event[name] for name in ("jet", "jet_sdmass", "jet_tau")]
    faults = {
        **faults,
        "wrong_particle_count": events.sizes != counted,
        "jet_not_finite": ~np.isfinite(np.column_stack(of_jet)).all(axis=1),
    }
    good = np.ones(len(events), np.bool_)
    rejected: Rejected = {}
    for name, bad in faults.items():
        rejected[name] = int(np.count_nonzero(bad & good))
        good &= ~bad
    return events.select(good), rejected


def of_jet(values: dict[str, Array]) -> dict[str, Floats]:
    """Return the arrays per jet of the branches `values`, (E) each."""
    return {
        "jet": _stacked(values, JET),
        "jet_sdmass": values["jet_sdmass"].astype(np.float32, copy=False),
        "jet_tau": _stacked(values, TAU),
    }


def _stacked(values: dict[str, Array], names: tuple[str, ...]) -> Floats:
    return np.column_stack([values[f"jet_{name}"] for name in names]).astype(np.float32, copy=False)
