"""Sample events for sPHENIX: collisions, seen by the chamber, with their whole truth."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.data.events import CARTESIAN, Events, Integers, concatenate, offsets_of
from pipeline.data.particles import Particles, labels_of
from pipeline.data.simulation.collisions import Generator
from pipeline.data.simulation.tpc import Clusters, detect

BLOCK_EVENTS = 100


@dataclass(frozen=True)
class Sample:
    """Events, the particles behind them (sorted by event), and who made each point.

    `particle` (P) is a row of `particles`; `particles.event` counts as `events` does.
    """

    events: Events
    particles: Particles
    particle: Integers


def make(count: int, *, seed: int, source: str) -> Sample:
    """Return `count` events with at least one point each; the same seed gives the same events."""
    generator = Generator(seed)
    rng = np.random.default_rng([seed, 2])
    blocks: list[Sample] = []
    made = 0
    while made < count:
        clusters = detect(generator.collide(min(BLOCK_EVENTS, count - made)), rng)
        block = _sample(clusters, source, first=made, most=count - made)
        made += len(block.events)
        blocks.append(block)
    return _joined(blocks)


def _sample(clusters: Clusters, source: str, *, first: int, most: int) -> Sample:
    """Return the events of `clusters` that have any, at most `most`, counted from `first`."""
    kept, sizes = np.unique(clusters.event, return_counts=True)
    kept, sizes = kept[:most], sizes[:most]
    points = int(sizes.sum())
    rows, new_row = _particles_of(clusters.particles, kept)
    particles = clusters.particles.take(rows)
    particles = replace(particles, event=first + np.searchsorted(kept, particles.event))
    particle = new_row[clusters.particle[:points]]
    columns = np.column_stack([clusters.charge_adc[:points], clusters.position[:points]])
    events = Events(
        source=source,
        points=columns.astype(np.float32),
        offsets=offsets_of(sizes),
        event_id=np.arange(first, first + len(kept)),
        columns=CARTESIAN,
        per_point=labels_of(
            particle,
            track_id=particles.track_id,
            pdg=particles.pdg,
            px=particles.momentum[:, 0],
            py=particles.momentum[:, 1],
        ),
    )
    return Sample(events, particles, particle)


def _particles_of(particles: Particles, kept: Integers) -> tuple[Integers, Integers]:
    """Return the rows of `particles` in the events `kept`, by event, and each one's new row."""
    order = np.argsort(particles.event, kind="stable")
    rows = order[np.isin(particles.event[order], kept)]
    new_row = np.full(len(particles), -1)
    new_row[rows] = np.arange(len(rows))
    return rows, new_row


def _joined(blocks: list[Sample]) -> Sample:
    """Return several samples as one."""
    particles = blocks[0].particles
    particle = [blocks[0].particle]
    for block in blocks[1:]:
        particle.append(block.particle + len(particles))
        particles = particles.joined(block.particles)
    events = concatenate([block.events for block in blocks])
    return Sample(events, particles, np.concatenate(particle))
