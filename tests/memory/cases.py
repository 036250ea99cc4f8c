"""Small models of every family with numbers drawn anew, and events that they can learn from."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from made_batches import batch as space_points
from made_neutrinos import pulses
from made_tracks import lines

from pipeline.data.jet_inputs import columns_of
from pipeline.families import FAMILIES, TOKENIZERS, Family
from pipeline.families.activations import Taken
from pipeline.nn.batch import Batch

CODES, CLASSES = 50, 3
Settings = dict[str, Any]
Drawn = tuple[Family, Batch]


def drawn(family: str, seed: int) -> Drawn:
    """Return a model of `family` and a batch of equally long events, by `seed`."""
    rng = np.random.default_rng([seed, *family.encode()])
    model = {**FAMILIES, **TOKENIZERS}[family](**SETTINGS[family](rng))
    events, count, length = EVENTS.get(family, (jets, (40, 90), (12, 50)))
    return model, events(model, int(rng.integers(*count)), int(rng.integers(*length)), seed)


def taken(batch: Batch, *, kernels: bool = False) -> Taken:
    """Return how much is taken forward at once."""
    sizes = batch.sizes.double()
    total, longest = float(sizes.sum()), float(sizes.max())
    return Taken(len(sizes), total, longest, float(sizes.square().sum()), kernels=kernels)


def jets(model: Family, count: int, points: int, seed: int) -> Batch:
    """Jets with all that a model reads of them; classes in turn."""
    rng = np.random.default_rng(seed)
    total, offsets = count * points, points * np.arange(count + 1)
    pt = np.sort(rng.exponential(30, (count, points)) + 0.5)[:, ::-1].reshape(-1)
    kind = rng.integers(0, 5, total)
    stored = {
        "pt": pt,
        "log_pt": np.log(pt),
        "deta": rng.uniform(-0.3, 0.3, total),
        "dphi": rng.uniform(-0.3, 0.3, total),
        "charge": np.where(kind == 0, 1, 0).astype(np.int8),
        "species": np.eye(5, dtype=np.bool_)[kind],
        **{name: 0.1 * rng.random(total) for name in ("d0val", "d0err", "dzval", "dzerr")},
    }
    reads, label = model.reads(), torch.arange(count) % CLASSES
    return Batch(
        points=torch.from_numpy(columns_of(reads.columns, stored, offsets)),
        offsets=torch.from_numpy(offsets),
        event_id=torch.arange(count),
        per_point={
            **dict.fromkeys(reads.per_point, torch.from_numpy(kind).clamp(max=2)),
            "token": torch.from_numpy(rng.integers(0, CODES, total)),
        },
        per_event={"label": label, **dict.fromkeys(reads.per_event, label)},
    )


def features(model: Family, count: int, points: int, seed: int) -> Batch:
    """Three features of each constituent, as tokenizers take them, and its token."""
    made = torch.Generator().manual_seed(seed)
    return Batch(
        points=torch.randn(count * points, 3, generator=made),
        offsets=points * torch.arange(count + 1),
        event_id=torch.arange(count),
        per_point={"token": torch.randint(0, CODES, (count * points,), generator=made)},
    )


def serialised(model: Family, count: int, points: int, seed: int) -> Batch:
    """Space points with their next neighbours; where a kernel would pad, events of all lengths."""
    neighbours, sizes = model.reads().neighbours or 1, [points] * count
    if neighbours > 1:
        sizes = [max(2, points * (each + 1) // count) for each in range(count)]
    made = space_points(sizes, seed=seed, neighbours=neighbours)
    columns = ["energy", "eta", "phi", "r"]
    chosen = made.points[:, [columns.index(name) for name in model.reads().columns]]
    return Batch(chosen, made.offsets, made.event_id, made.per_point)


def tracks(model: Family, count: int, points: int, seed: int) -> Batch:
    """Events of tracks of eight points each."""
    made = lines(count, tracks=points // 8, points=8, seed=seed)
    return replace(made, per_point={**made.per_point, "pid": made.per_point["track"] % 4})


def neutrinos(model: Family, count: int, points: int, seed: int) -> Batch:
    """Events of pulses."""
    return pulses((points,) * count, seed=seed)


Range = tuple[int, int]
Made = tuple[Callable[[Family, int, int, int], Batch], Range, Range]
EVENTS: Mapping[str, Made] = {
    **dict.fromkeys(("fm4npp-mamba", "fm4npp-mamba2"), (serialised, (6, 16), (60, 200))),
    "pointgpt": (serialised, (16, 32), (40, 150)),
    **dict.fromkeys(("eggnet", "exatrkx", "graphsage"), (tracks, (8, 24), (40, 120))),
    **dict.fromkeys(("omnijet", "vqvae", "mpm-vqvae"), (features, (40, 90), (12, 50))),
    "vqvae-mlp": (features, (90, 200), (12, 50)),
    "deepsets": (jets, (90, 200), (12, 50)),
    "omnilearned": (jets, (8, 24), (12, 40)),
    "polarbert": (neutrinos, (24, 60), (20, 70)),
}


def between(rng: np.random.Generator, low: int, high: int, step: int = 1) -> int:
    """Return a multiple of `step` from `low` to `high`, both in steps."""
    return step * int(rng.integers(low, high + 1))


def choice(rng: np.random.Generator, *choices: Any) -> Any:
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def _fm4npp(rng: np.random.Generator) -> Settings:
    neighbours = between(rng, 2, 30)
    width = choice(rng, 32, 64, 96, 128, 192, 256, 384)
    return {"width": width, "layers": between(rng, 1, 3), "neighbours": neighbours}


def _pointgpt(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 2, 8, 12),
        "backbone_layers": between(rng, 1, 4),
        "encoder_layers": between(rng, 1, 3),
        "decoder_layers": between(rng, 1, 3),
        "heads": (choice(rng, 2, 4), choice(rng, 1, 2), choice(rng, 2, 4)),
        "patch_points": choice(rng, 8, 16, 32),
        "patches": 64,
    }


def _block(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 2, 8, 12),
        "layers": between(rng, 1, 4),
        "heads": choice(rng, 2, 4, 6),
    }


def _omnijet(rng: np.random.Generator) -> Settings:
    codes = CODES + between(rng, 0, 8, 100)
    return {**_block(rng), "codes": codes, "dropout": choice(rng, 0.0, 0.0, 0.1)}


def _polarbert(rng: np.random.Generator) -> Settings:
    backbone = choice(rng, "transformer", "transformer", "gru", "mamba")
    width = between(rng, 1, 3, 32)
    found = {
        "width": width,
        "layers": between(rng, 1, 4),
        "heads": choice(rng, 2, 4),
        "inner": between(rng, 2, 8, 24),
        "sensor_width": width // 2,
        "sensors": 40 + between(rng, 0, 8, 100),
        "backbone": backbone,
        "activation": choice(rng, "relu", "swiglu"),
        "embedding": choice(rng, "positions", "table"),
        "dropout": choice(rng, 0.0, 0.1),
    }
    if backbone == "transformer" and found["embedding"] == "table":
        found["padding"] = choice(rng, "seen", "hidden")
    return found


def _part(rng: np.random.Generator) -> Settings:
    return {
        **_block(rng),
        "embedding": tuple(between(rng, 1, 6, 16) for _ in range(between(rng, 1, 2))),
        "class_layers": between(rng, 1, 2),
        "pair_widths": tuple(between(rng, 1, 6, 8) for _ in range(between(rng, 1, 3))),
        "classes": CLASSES,
        "interaction": choice(rng, "jets", "jets", ""),
        "dropout": choice(rng, 0.0, 0.1),
        "norm": choice(rng, "batch", "layer"),
    }


def _particlenet(rng: np.random.Generator) -> Settings:
    return {
        "widths": tuple(between(rng, 1, 8, 8) for _ in range(between(rng, 1, 3))),
        "convolutions": between(rng, 1, 3),
        "neighbours": between(rng, 3, 10),
        "inner": between(rng, 1, 4, 16),
        "classes": CLASSES,
        "norm": choice(rng, "batch", "layer"),
        "few_neighbours": choice(rng, "padded", "present"),
    }


def _deepsets(rng: np.random.Generator) -> Settings:
    return {
        "phi": tuple(between(rng, 1, 8, 16) for _ in range(between(rng, 1, 4))),
        "f": tuple(between(rng, 1, 8, 16) for _ in range(between(rng, 1, 4))),
        "classes": CLASSES,
    }


def _graphsage(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 1, 8, 8),
        "layers": between(rng, 1, 4),
        "neighbours": between(rng, 3, 25),
    }


def _epic(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 2, 8, 8),
        "global_width": between(rng, 2, 12),
        "layers": between(rng, 1, 5),
        "time_width": choice(rng, 8, 32),
    }


def _mpm(rng: np.random.Generator) -> Settings:
    return {
        **_block(rng),
        "inner": between(rng, 1, 6, 16),
        "second_width": between(rng, 1, 4, 16),
        "second_inner": between(rng, 1, 4, 16),
        "second_layers": between(rng, 1, 3),
        "second_heads": choice(rng, 2, 4),
        "positions": choice(rng, "second_encoder", "second_encoder", "none"),
        "codes": CODES + between(rng, 0, 4, 100),
        "clusters": between(rng, 1, 5, 40),
        "objectives": {choice(rng, "tokens", "clusters", "regression"): 1.0},
        "normaliser_points": 200,
        "dropout": choice(rng, 0.0, 0.1),
    }


def _mpmv2(rng: np.random.Generator) -> Settings:
    names = ("identity", "tokens", "regression", "clusters", "cnf", "cfm", "ssfm")
    return {
        **_block(rng),
        "registers": choice(rng, 0, 2),
        "activation": choice(rng, "gelu", "swiglu"),
        "decoder_width": between(rng, 1, 4, 16),
        "decoder_layers": between(rng, 1, 3),
        "decoder_heads": choice(rng, 2, 4),
        "codes": CODES + between(rng, 0, 4, 100),
        "clusters": between(rng, 1, 5, 40),
        "objectives": {choice(rng, *names): 1.0, "identity": 1.0},
    }


def _vqvae(rng: np.random.Generator) -> Settings:
    return {
        "codes": CODES + between(rng, 0, 4, 100),
        "hidden_width": between(rng, 1, 6, 16),
        "blocks": between(rng, 1, 4),
        "heads": choice(rng, 2, 4),
        "dropout": choice(rng, 0.0, 0.1),
        "replacement_steps": 1000,
    }


def _vqvae_mlp(rng: np.random.Generator) -> Settings:
    return {
        "codes": CODES + between(rng, 0, 4, 100),
        "hidden_width": between(rng, 1, 6, 16),
        "layers": between(rng, 1, 4),
        "replacement_steps": 1000,
    }


def _mpm_vqvae(rng: np.random.Generator) -> Settings:
    return {
        **_block(rng),
        "codes": CODES + between(rng, 0, 4, 100),
        "inner": between(rng, 1, 6, 16),
        "replacement_steps": 1000,
        "normaliser_points": 200,
        "dropout": choice(rng, 0.0, 0.1),
    }


def _eggnet(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 1, 4, 8),
        "layers": between(rng, 1, 4),
        "depth": between(rng, 1, 3),
        "iterations": between(rng, 1, 3),
        "recycle": choice(rng, True, True, False),
        "neighbours": between(rng, 3, 10),
        "dimensions": between(rng, 4, 24),
        "random_pairs": between(rng, 1, 10, 100),
    }


def _exatrkx(rng: np.random.Generator) -> Settings:
    return {
        "width": between(rng, 1, 4, 8),
        "layers": between(rng, 1, 4),
        "depth": between(rng, 1, 3),
        "embedding_width": between(rng, 1, 4, 16),
        "embedding_layers": between(rng, 1, 4),
        "filter_width": choice(rng, None, 8, 24),
        "filter_layers": between(rng, 1, 3),
        "neighbours": between(rng, 4, 16),
        "radius": 100.0,
    }


def _omnilearned(rng: np.random.Generator) -> Settings:
    mode = choice(rng, "pretrain", "pretrain", "classifier", "generator")
    found = {
        **_block(rng),
        "mode": mode,
        "head_layers": between(rng, 1, 2),
        "nearest": between(rng, 3, 8),
        "ratio": choice(rng, 2, 3),
        "tokens": choice(rng, 2, 4),
        "classes": CLASSES,
        "interaction": choice(rng, "pet", "pet", ""),
    }
    if mode == "pretrain":
        found["objectives"] = choice(rng, {}, {"contrastive": 1.0, "classes": 1.0})
    return found


SETTINGS: Mapping[str, Callable[[np.random.Generator], Settings]] = {
    "fm4npp-mamba": _fm4npp,
    "fm4npp-mamba2": _fm4npp,
    "pointgpt": _pointgpt,
    "omnijet": _omnijet,
    "polarbert": _polarbert,
    "part": _part,
    "particlenet": _particlenet,
    "deepsets": _deepsets,
    "graphsage": _graphsage,
    "epic-fm": _epic,
    "mpm": _mpm,
    "mpmv2": _mpmv2,
    "vqvae": _vqvae,
    "vqvae-mlp": _vqvae_mlp,
    "mpm-vqvae": _mpm_vqvae,
    "eggnet": _eggnet,
    "exatrkx": _exatrkx,
    "omnilearned": _omnilearned,
}
