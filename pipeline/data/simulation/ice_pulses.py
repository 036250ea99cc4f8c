"""From photoelectrons to the pulses that a telescope reads out: charges, noise, trigger.

Axes: E events, P pulses of all events.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.data.events import Array, Doubles, Integers, Mask
from pipeline.data.simulation.ice_array import MODULES, SENSORS, module_of
from pipeline.data.simulation.ice_light import LIGHT_M_PER_NS, PHASE_INDEX, Light

# Pandel's distribution as AMANDA fitted it (astro-ph/0407044): a gamma distribution.
PANDEL_NS, PANDEL_M, PANDEL_ABSORPTION_M = 557.0, 33.3, 98.0
JITTER_NS = 3.0
# A single photoelectron's charge: IceCube, JINST 15 P06032, simplified to a Gaussian.
SPE_SPREAD = 0.3
CHARGE_STEP_PE = 0.025
PULSES_PER_DECADE = 6.0
NOISE_HZ = 500.0
# Events are drawn over WINDOW_NS, of which BEFORE_NS + AFTER_NS about the trigger are read out.
WINDOW_NS, EARLIEST_NS = 30_000, -8_000
BEFORE_NS, AFTER_NS = 5_000, 10_000
TRIGGER_NS = 10_000
# Hard local coincidence: IceCube, JINST 12 P03012, section 4; the trigger SMT8: section 6.
COINCIDENCE_NS, COINCIDENCE_MODULES = 1_000, 2
COINCIDENT = 8
TIME_BITS = 20


@dataclass(frozen=True)
class Pulses:
    """Pulses by event and time: their event, sensor, time in whole ns, charge; who is alone (P)."""

    event: Integers
    sensor: Integers
    time_ns: Integers
    charge_pe: Doubles
    auxiliary: Mask

    def __len__(self) -> int:
        return len(self.event)


def read_out(light: Light, events: int, rng: np.random.Generator) -> Pulses:
    """Return the pulses of those of `events` events that trigger."""
    parts = [_signal(light, rng), _noise(events, rng)]
    event, sensor, time, charge = (np.concatenate(each) for each in zip(*parts, strict=True))
    inside = (time >= 0) & (time < WINDOW_NS)
    event, sensor, time, charge = (each[inside] for each in (event, sensor, time, charge))
    order = np.lexsort((sensor, time, event))
    pulses = _judged(event[order], sensor[order], time[order], charge[order])
    return _triggered(pulses, events)


def _signal(light: Light, rng: np.random.Generator) -> tuple[Integers, Integers, Integers, Doubles]:
    """Return event, sensor, time and charge of the pulses that light makes.

    n photoelectrons are read out as at most 1 + 6 log10(n) pulses, which share them evenly: a
    large signal is a wide one, not thousands of pulses.
    """
    seen = rng.poisson(light.expected_pe)
    hit = np.flatnonzero(seen)
    seen = seen[hit]
    parts = np.minimum(seen, np.ceil(1 + PULSES_PER_DECADE * np.log10(seen))).astype(np.int64)
    rows = np.repeat(hit, parts)
    shared = np.repeat((seen - parts) / parts, parts)
    delay = rng.gamma(light.distance_m[rows] / PANDEL_M) / _decay()
    time = light.direct_ns[rows] + delay + rng.normal(0, JITTER_NS, len(rows)) - EARLIEST_NS
    charge = _charge(1 + rng.poisson(shared), rng)
    return light.event[rows], light.sensor[rows], np.rint(time).astype(np.int64), charge


def _decay() -> float:
    """Return the rate of Pandel's distribution, 1/ns."""
    return 1 / PANDEL_NS + LIGHT_M_PER_NS / PHASE_INDEX / PANDEL_ABSORPTION_M


def _charge(photoelectrons: Array, rng: np.random.Generator) -> Doubles:
    """Return the charges (P) of so many `photoelectrons`, in steps of the digitiser."""
    charge = rng.normal(photoelectrons, SPE_SPREAD * np.sqrt(photoelectrons))
    steps: Doubles = np.maximum(np.rint(charge / CHARGE_STEP_PE), 1) * CHARGE_STEP_PE
    return steps


def _noise(events: int, rng: np.random.Generator) -> tuple[Integers, Integers, Integers, Doubles]:
    """Return event, sensor, time and charge of the pulses that come of themselves."""
    counts = rng.poisson(NOISE_HZ * SENSORS * WINDOW_NS * 1e-9, events)
    total = int(counts.sum())
    return (
        np.repeat(np.arange(events), counts),
        rng.integers(0, SENSORS, total),
        rng.integers(0, WINDOW_NS, total),
        _charge(np.ones(total, np.int64), rng),
    )


def _judged(event: Integers, sensor: Integers, time: Integers, charge: Doubles) -> Pulses:
    """Return the pulses with `auxiliary` set where they have no coincident neighbour."""
    return Pulses(event, sensor, time, charge, ~coincident(event, sensor, time))


def coincident(event: Integers, sensor: Integers, time_ns: Integers) -> Mask:
    """Return which pulses (P) have another within 2 modules of the same string and 1000 ns.

    `time_ns` lies between 1000 and 2^20 - 1000.
    """
    key = ((event * SENSORS + sensor) << TIME_BITS) + time_ns
    ordered = np.append(np.sort(key), np.iinfo(np.int64).max)
    module = module_of(sensor)
    found = np.zeros(len(key), np.bool_)
    for step in range(-COINCIDENCE_MODULES, COINCIDENCE_MODULES + 1):
        if step:
            there = key + (step << TIME_BITS)
            index = np.searchsorted(ordered, there - COINCIDENCE_NS)
            same = (module + step >= 0) & (module + step < MODULES)
            found |= same & (ordered[index] <= there + COINCIDENCE_NS)
    return found


def _triggered(pulses: Pulses, events: int) -> Pulses:
    """Return the events with 8 coincident pulses, cut and counted from the eighth of them."""
    start = np.full(events, -1, np.int64)
    rows = np.flatnonzero(~pulses.auxiliary)
    rank = np.arange(len(rows)) - np.searchsorted(pulses.event[rows], pulses.event[rows])
    eighth = rows[rank == COINCIDENT - 1]
    start[pulses.event[eighth]] = pulses.time_ns[eighth]
    time = pulses.time_ns - start[pulses.event]
    keep = (start[pulses.event] >= 0) & (time >= -BEFORE_NS) & (time < AFTER_NS)
    cut = _judged(
        pulses.event[keep],
        pulses.sensor[keep],
        time[keep] + TRIGGER_NS,
        pulses.charge_pe[keep],
    )
    enough = np.bincount(cut.event[~cut.auxiliary], minlength=events) >= COINCIDENT
    good = enough[cut.event]
    return Pulses(
        cut.event[good],
        cut.sensor[good],
        cut.time_ns[good],
        cut.charge_pe[good],
        cut.auxiliary[good],
    )
