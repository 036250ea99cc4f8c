"""What OmniLearned's fine-tuning carries over and how fast it learns, held to the authors' own."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.campaign import Training
from pipeline.families.omnilearned import published as names
from pipeline.families.omnilearned.module import build
from pipeline.families.omnilearned.recipe import LION
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn import published
from pipeline.training.engine.optimisers import groups, with_faster
from pipeline.training.weights import carried
from tests.golden.cases import Case, Row
from tests.golden.omnilearned import declared


def knows(case: Case) -> bool:
    """Return whether `case` is of the loading of weights."""
    return any("restore_checkpoint" in str(file) for file in case.about.get("files", ()))


def held(case: Case) -> Iterator[Row]:
    """Yield of how many tensors and parameters it is another than the authors'."""
    for name, result in case.about["results"].items():
        source, model = declared(result["from_"]), declared(result["to"])
        unlike = model.unlike(source, model.MAY_DIFFER)
        yield Row(f"{name}: fields that cannot differ", len(unlike), 0)
        found = carried_over(source, model)
        away = set(result["carried"]) ^ {each for each, taken in found.items() if taken}
        yield Row(f"{name}: carried", len(away), 0)
        away = set(result["not_carried"]) ^ {each for each, taken in found.items() if not taken}
        yield Row(f"{name}: not carried", len(away), 0)
        away_from = _other_groups(build(model, None), model, result["groups"])
        yield Row(f"{name}: rates and decay", away_from, 0)


def carried_over(source: OmniLearned, model: OmniLearned) -> dict[str, bool]:
    """Return of each weight of `model`, by the authors' name, whether it is that of `source`."""
    there = {n: torch.full_like(w, math.pi) for n, w in build(source, None).state_dict().items()}
    own: Mapping[str, Tensor] = build(model, None).state_dict()
    taken = published.exported(carried(there, own, model.ANEW), names.entries(model))
    return {name: bool((weight == math.pi).all()) for name, weight in taken.items()}


def _other_groups(module: nn.Module, model: OmniLearned, theirs: list[dict[str, Any]]) -> int:
    """Return of how many parameters the decay, or the rate over the base rate, is another."""
    (factor,) = {group["lr_over_base"] for group in theirs} - {1.0}
    training = Training(
        events_seen=1,
        batch_events=1,
        walltime_minutes=1,
        learning_rate=1.0,
        head_rate=factor,
        weight_decay=max(group["weight_decay"] for group in theirs),
        weight_decay_of="all",
        no_weight_decay=LION["no_weight_decay"],
    )
    scales = with_faster({}, module, model.FASTER, training.head_rate)
    ours = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups(module, training, scales)
        for parameter in group["params"]
    }
    parameters = dict(module.named_parameters())
    there = {
        n: (group["lr_over_base"], group["weight_decay"])
        for group in theirs
        for n in group["names"]
    }
    trained = {
        name: ours[id(parameters[entry.ours])]
        for entry in names.entries(model)
        for name in entry.names
        if entry.ours in parameters
    }
    return sum(trained.get(name) != there.get(name) for name in trained.keys() | there.keys())
