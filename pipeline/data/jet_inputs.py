"""What models of jets take of a particle, made of whatever a store of jets holds.

A column may be made of others in more than one way, since stores differ: JetClass's hold momenta,
OmniLearned's and those of tokens logarithms and offsets from the axis. The first way that a store
allows is taken. Particle Transformer's inputs are standardised with the constants of
jet-universe/particle_transformer, data/JetClass/JetClass_full.yaml: (value - centre) × scale,
clipped. Momentum and energy of a particle are relative to those that the file gives of the jet, and
to those of the sum of its particles in a store without. Axes: P particles, E jets.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipeline.data.events import Array, Floats, Integers
from pipeline.families.jet_columns import SPECIES


@dataclass(frozen=True)
class Standard:
    """How an input is standardised; the limits are of the result, those of weaver by default."""

    centre: float
    scale: float
    low: float = -5.0
    high: float = 5.0

    def __call__(self, values: Array) -> Array:
        """Return `values` standardised."""
        scaled: Array = np.clip((values - self.centre) * self.scale, self.low, self.high)
        return scaled


@dataclass(frozen=True)
class Way:
    """A function of the columns `of`, all (P); with `jets` it is given the offsets (E + 1) too."""

    of: tuple[str, ...]
    make: Callable[..., Array]
    jets: bool = False


def _total(values: Array, offsets: Integers) -> Array:
    """Return for each particle the sum over its jet (P)."""
    sums: Array = np.add.reduceat(values, offsets[:-1])
    return np.repeat(sums, np.diff(offsets))


def _jet_pt(px: Array, py: Array, offsets: Integers) -> Array:
    """Return for each particle the transverse momentum of the sum of its jet's particles (P)."""
    pt: Array = np.hypot(_total(px, offsets), _total(py, offsets))
    return pt


def _of_jet(column: int) -> Way:
    """Return the way to a quantity of the jet of each particle: a column of `jet` (E, 4)."""

    def repeated(jet: Array, offsets: Integers) -> Array:
        return np.repeat(jet[:, column], np.diff(offsets))

    return Way((JET_ARRAY,), repeated, jets=True)


def _log_ratio(part: Array, whole: Array) -> Array:
    """Return ln of what a particle has of its jet's, standardised."""
    return _LOG_REL(np.log(part / whole))


JET_ARRAY = "jet"  # of jets (E, 4): pT, η, φ, energy, as the file gives them
ARRAYS = ("charge", "species")  # of particles, which ways take beside the columns of points
_LOG_REL, _ERROR = Standard(-4.7, 0.7), Standard(0.0, 1.0, 0.0, 1.0)
WAYS: dict[str, tuple[Way, ...]] = {
    "pt": (Way(("px", "py"), np.hypot), Way(("log_pt",), np.exp)),
    "log_pt": (Way(("pt",), np.log),),
    # MPM's: sign(pT) ln(|pT / GeV| + 1); no pT is below 0.
    "log_squash_pt": (Way(("pt",), np.log1p),),
    "px": (Way(("pt", "dphi"), lambda pt, dphi: pt * np.cos(dphi)),),
    "py": (Way(("pt", "dphi"), lambda pt, dphi: pt * np.sin(dphi)),),
    "pz": (Way(("pt", "deta"), lambda pt, deta: pt * np.sinh(deta)),),
    # Where nobody kept the energy, a particle has no mass.
    "energy": (
        Way(("log_energy",), np.exp),
        Way(("pt", "deta"), lambda pt, deta: pt * np.cosh(deta)),
    ),
    "log_energy": (Way(("energy",), np.log),),
    "pt_log": (Way(("log_pt",), Standard(1.7, 0.7)),),
    "e_log": (Way(("log_energy",), Standard(2.0, 0.7)),),
    "jet_pt": (_of_jet(0), Way(("px", "py"), _jet_pt, jets=True)),
    "jet_energy": (_of_jet(3), Way(("energy",), _total, jets=True)),
    "logptrel": (Way(("pt", "jet_pt"), _log_ratio),),
    "logerel": (Way(("energy", "jet_energy"), _log_ratio),),
    "deltaR": (Way(("deta", "dphi"), lambda *of: Standard(0.2, 4.0)(np.hypot(*of))),),
    **{
        f"is{name}": (Way(("species",), partial(lambda at, species: species[:, at], at)),)
        for at, name in enumerate(SPECIES)
    },
    "d0": (Way(("d0val",), np.tanh),),
    "dz": (Way(("dzval",), np.tanh),),
    "d0err_clipped": (Way(("d0err",), _ERROR),),
    "dzerr_clipped": (Way(("dzerr",), _ERROR),),
}


def made_of(name: str, known: Iterable[str]) -> frozenset[str] | None:
    """Return which of the `known` columns and arrays make `name`; None if they cannot."""
    return _made_of(name, frozenset(known), frozenset())


def _made_of(name: str, known: frozenset[str], visited: frozenset[str]) -> frozenset[str] | None:
    """Return what makes `name`, by ways that avoid the `visited` names."""
    if name in known:
        return frozenset({name})
    way = _way(name, known, visited)
    if way is None:
        return None
    parts = [_made_of(each, known, visited | {name}) for each in way.of]
    return frozenset().union(*(part for part in parts if part is not None))


def _way(name: str, known: frozenset[str], visited: frozenset[str]) -> Way | None:
    """Return the first way to make `name` whose columns can all be had."""
    if name in visited:
        return None
    visited = visited | {name}
    for way in WAYS.get(name, ()):
        if all(each in known or _way(each, known, visited) is not None for each in way.of):
            return way
    return None


def columns_of(names: Sequence[str], stored: Mapping[str, Array], offsets: Integers) -> Floats:
    """Return the columns `names` (P, N) float32, of those `stored` or made of them.

    `stored` are the columns of points (P), the arrays `ARRAYS`, and `JET_ARRAY` where there is one,
    in physical units; jet e owns the rows offsets[e] to offsets[e + 1].

    Raises:
        KeyError: One cannot be made of them.
    """
    found, known = dict(stored), frozenset(stored)

    def value(name: str) -> Array:
        if name not in found:
            way = _way(name, known, frozenset())
            if way is None:
                raise KeyError(name)
            more = (offsets,) if way.jets else ()
            found[name] = way.make(*(value(each) for each in way.of), *more)
        return found[name]

    with np.errstate(divide="ignore"):  # a particle of no energy: the clip makes it finite
        return np.stack([value(name).astype(np.float32) for name in names], 1)
