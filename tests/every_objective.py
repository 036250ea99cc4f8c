"""Every objective of every family, each with a small model and events that it can learn from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from made_batches import batch as points
from made_flows import epic, learned
from made_flows import jet_batch as flowing
from made_neutrinos import pulses
from made_neutrinos import small as polarbert
from made_tracks import lines

from pipeline.data.events import offsets_of
from pipeline.data.jet_inputs import columns_of
from pipeline.families import Family
from pipeline.families.deepsets.spec import DeepSets
from pipeline.families.eggnet.spec import EggNet
from pipeline.families.exatrkx.spec import ExaTrkX
from pipeline.families.fm4npp.spec import FM4NPPMamba, FM4NPPMamba2
from pipeline.families.graphsage.spec import GraphSAGE
from pipeline.families.mpm.spec import MPM
from pipeline.families.mpm_vqvae.spec import MPMVQVAE
from pipeline.families.mpmv2.spec import MPMv2
from pipeline.families.omnijet.spec import OmniJet
from pipeline.families.part.spec import ParT
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.families.pointgpt.spec import PointGPT
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.nn.systems import System

CODES, CLASSES, EPOCH_BATCHES = 8, 2, 3
SIZES = (9, 12, 5, 16, 7, 10, 14, 6)
EVENTS = len(SIZES)
FURTHER = {"neighbours_by_size": {"event_sizes": (1, 8, 3201), "event_weights": (1.0, 0.5)}}
Events = Callable[[int], Batch]


@dataclass(frozen=True)
class Case:
    """A model of one objective, and its batches of `EVENTS` events, by a seed."""

    model: Family
    events: Events

    def system(self) -> System:
        """The model with random weights, always the same."""
        torch.manual_seed(1)
        return systems.build(self.model, None)

    def batch(self, step: int) -> Batch:
        """The global batch of a step, as a loader gives it: a pass has three batches."""
        first = (5 << 33) + EVENTS * (step % EPOCH_BATCHES)
        epoch = torch.full((EVENTS,), step // EPOCH_BATCHES)
        ids = torch.arange(first, first + EVENTS)
        return replace(self.events(step % EPOCH_BATCHES), event_id=ids, epoch=epoch, seed=11)


def jets(model: Family, seed: int) -> Batch:
    """Jets in the columns of a model, the hardest constituent first; classes in turn."""
    rng = np.random.default_rng(seed)
    offsets = offsets_of(np.array(SIZES))
    event, count = np.repeat(np.arange(EVENTS), SIZES), sum(SIZES)
    pt = rng.exponential(30, count) + 0.5
    pt = pt[np.lexsort((-pt, event))]
    kind = rng.integers(0, 5, count)
    stored = {
        "pt": pt,
        "log_pt": np.log(pt),
        "deta": rng.uniform(-0.3, 0.3, EVENTS)[event] + 0.05 * rng.normal(size=count),
        "dphi": (0.1 + 0.1 * (event % CLASSES)) * rng.normal(size=count),
        "charge": np.where(kind == 0, 1, 0).astype(np.int8),
        "species": np.eye(5, dtype=np.bool_)[kind],
        **{name: 0.1 * rng.random(count) for name in ("d0val", "d0err", "dzval", "dzerr")},
    }
    return Batch(
        points=torch.from_numpy(columns_of(model.reads().columns, stored, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(EVENTS),
        per_point={"token": torch.from_numpy(rng.integers(0, CODES, count))},
        per_event={"label": torch.arange(EVENTS) % CLASSES},
    )


def noisy_jets(model: Family, seed: int) -> Batch:
    """Jets as flows read them, of classes that are not equally frequent."""
    made = flowing(model, EVENTS, seed=seed)
    label = (torch.arange(EVENTS) % 3 > 0).long()
    return replace(made, per_event={**made.per_event, **dict.fromkeys(made.per_event, label)})


def features(seed: int) -> Batch:
    """Three features of each constituent, as a tokenizer takes them, and its token."""
    made = torch.Generator().manual_seed(seed)
    count = sum(SIZES)
    return Batch(
        points=torch.randn(count, 3, generator=made),
        offsets=torch.from_numpy(offsets_of(np.array(SIZES))),
        event_id=torch.arange(EVENTS),
        per_point={"token": torch.randint(0, CODES, (count,), generator=made)},
    )


def tracks(seed: int) -> Batch:
    """Events of tracks, whose points are of four kinds of particles."""
    made = lines(EVENTS, tracks=3, points=5, seed=seed)
    return replace(made, per_point={**made.per_point, "pid": made.per_point["track"]})


def _models() -> dict[str, tuple[Family, Events]]:
    """A model of each family with settings in which nothing is dropped, and its events."""
    fm4npp = {"width": 32, "layers": 1, "neighbours": 2}
    edges = {"width": 8, "layers": 1, "depth": 1, "embedding_width": 8, "embedding_layers": 1}
    flows: dict[str, Family] = {
        "omnilearned": learned(known_dropout=0.3),
        "omnilearned, ftag": learned(mode="ftag"),
        "epic-fm": epic(),
    }
    made = partial(points, SIZES)
    return {
        "fm4npp-mamba": (FM4NPPMamba(**fm4npp), lambda seed: made(seed=seed)),
        "fm4npp-mamba2": (FM4NPPMamba2(**fm4npp), lambda seed: made(seed=seed)),
        "pointgpt": (
            PointGPT(
                width=16,
                backbone_layers=1,
                encoder_layers=1,
                decoder_layers=1,
                heads=(2, 2, 2),
                patch_points=4,
                patches=6,
                hidden_share=0.4,
            ),
            lambda seed: made(seed=seed),
        ),
        "omnijet": (OmniJet(codes=CODES, width=16, layers=1, heads=2), features),
        "omnijet, padding": (
            OmniJet(codes=CODES, width=16, layers=1, heads=2, padding="counted", padded_to=20),
            features,
        ),
        "polarbert": (polarbert(layers=1), lambda seed: pulses(SIZES, seed=seed)),
        **{name: (model, partial(jets, model)) for name, model in _jet_models().items()},
        **{name: (model, partial(noisy_jets, model)) for name, model in flows.items()},
        "eggnet": (
            EggNet(width=8, iterations=2, layers=1, depth=1, neighbours=3, random_pairs=50),
            tracks,
        ),
        "exatrkx": (ExaTrkX(**edges, filter_width=8, filter_layers=1, neighbours=4), tracks),
        "graphsage": (GraphSAGE(width=8, layers=1, neighbours=4), tracks),
        **_tokenizers(),
    }


def _jet_models() -> dict[str, Family]:
    """Models that read jets as they are."""
    mpm = {"width": 16, "inner": 16, "layers": 1, "heads": 2, "second_width": 16}
    mpm |= {"second_inner": 16, "second_layers": 1, "second_heads": 2, "codes": CODES}
    mpm |= {"clusters": 6, "dropout": 0.0, "normaliser_points": 200}
    mpmv2 = {"width": 16, "layers": 1, "heads": 2, "codes": CODES, "clusters": 6, "registers": 1}
    mpmv2 |= {"decoder_width": 16, "decoder_layers": 1, "decoder_heads": 2}
    part = {"embedding": (16, 16), "width": 16, "layers": 1, "class_layers": 1, "heads": 2}
    part |= {"pair_widths": (8,), "classes": CLASSES, "dropout": 0.0}
    particlenet = {"widths": (8, 8), "layers": 2, "convolutions": 1, "neighbours": 4, "inner": 8}
    particlenet |= {"classes": CLASSES, "dropout": 0.0}
    return {
        "mpm": MPM(**mpm),
        "mpm, reads constituents": MPM(**mpm, reads_centres=False),
        "mpmv2": MPMv2(**mpmv2),
        "part, batch norm": ParT(**part),
        "part": ParT(**part, norm="layer"),
        "particlenet, batch norm": ParticleNet(**particlenet),
        "particlenet": ParticleNet(**particlenet, norm="layer"),
        "deepsets": DeepSets(phi=(8, 8), f=(8,), layers=2, classes=CLASSES),
    }


def _tokenizers() -> dict[str, tuple[Family, Events]]:
    """Tokenizers, and the jets that they make tokens of."""
    vqvae = {"codes": CODES, "hidden_width": 8, "replacement_steps": 2}
    return {
        "vqvae": (VQVAE(**vqvae, blocks=1, heads=2, dropout=0.0), features),
        "vqvae-mlp, padding": (
            VQVAEMLP(**vqvae, layers=1, padding="counted", padded_to=20),
            features,
        ),
        "mpm-vqvae": (
            MPMVQVAE(
                codes=CODES,
                width=16,
                inner=16,
                layers=1,
                heads=2,
                replacement_steps=2,
                dropout=0.0,
                normaliser_points=200,
            ),
            features,
        ),
    }


def cases() -> dict[str, Case]:
    """Every objective that a model of a family can have, by family and name."""
    found = {}
    for name, (model, events) in _models().items():
        for objective in model.OBJECTIVES:
            wanted = {"objectives": {objective: 1.0}, **FURTHER.get(objective, {})}
            try:
                alone = type(model).model_validate({**model.model_dump(), **wanted})
            except ValueError:
                continue
            found[f"{name}: {objective}"] = Case(alone, events)
    return found


def together() -> dict[str, Case]:
    """Each model with all its objectives but those that depend on how a batch is divided.

    A model that can have one alone stands there with each of them.
    """
    found: dict[str, Case] = {}
    for name, case in CASES.items():
        if exception(name):
            continue
        model, further = name.split(": ")
        known = found.get(model, case).model
        weights = {**known.objectives, further: 1.0}
        wanted = {**known.model_dump(), "objectives": weights, **FURTHER.get(further, {})}
        try:
            found[model] = Case(type(known).model_validate(wanted), case.events)
        except ValueError:
            found[name] = case
    return found


# What a batch has to do with these, and so why they depend on how it is divided.
EXCEPTIONS = {
    "batch norm": "its mean and deviation are of the rows that are taken forward together",
}


def exception(name: str) -> str:
    """Why an objective is no sum over events, empty where it is."""
    return next((why for what, why in EXCEPTIONS.items() if what in name), "")


CASES = cases()
ALONE_AND_TOGETHER = CASES | together()
