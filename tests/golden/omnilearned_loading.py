"""What OmniLearned's fine-tuning carries over and how fast it learns, held to the authors' own."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.families.omnilearned import published as names
from pipeline.families.omnilearned.module import build
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.nn import published
from pipeline.training.engine.optimisers import with_faster
from pipeline.training.weights import carried
from tests.golden.cases import Case, Row
from tests.golden.omnilearned import declared


def knows(case: Case) -> bool:
    """Return whether `case` is of the loading of weights."""
    return any("restore_checkpoint" in str(file) for file in case.about.get("files", ()))


def held(case: Case) -> Iterator[Row]:
    """Yield how many tensors, and rates of how many parameters, are others than the authors'.

    The decay of weights is a matter of the recipe.
    """
    for name, result in case.about["results"].items():
        source, model = declared(result["from_"]), declared(result["to"])
        unlike = model.unlike(source, model.MAY_DIFFER)
        yield Row(f"{name}: fields that cannot differ", len(unlike), 0)
        found = carried_over(source, model)
        away = set(result["carried"]) ^ {each for each, taken in found.items() if taken}
        yield Row(f"{name}: carried", len(away), 0)
        away = set(result["not_carried"]) ^ {each for each, taken in found.items() if not taken}
        yield Row(f"{name}: not carried", len(away), 0)
        yield Row(f"{name}: rates", _other_rates(build(model, None), model, result["groups"]), 0)


def carried_over(source: OmniLearned, model: OmniLearned) -> dict[str, bool]:
    """Return of each weight of `model`, by the authors' name, whether it is that of `source`."""
    there = {n: torch.full_like(w, math.pi) for n, w in build(source, None).state_dict().items()}
    own: Mapping[str, Tensor] = build(model, None).state_dict()
    taken = published.exported(carried(there, own, model.ANEW), names.entries(model))
    return {name: bool((weight == math.pi).all()) for name, weight in taken.items()}


def _other_rates(module: nn.Module, model: OmniLearned, groups: list[dict[str, Any]]) -> int:
    """Return of how many parameters the rate over the base rate is another."""
    (factor,) = {group["lr_over_base"] for group in groups} - {1.0}
    scales = with_faster({}, module, model.FASTER, factor)
    ours = {
        name: scales[entry.ours].rate if entry.ours in scales else 1.0
        for entry in names.entries(model)
        for name in entry.names
    }
    theirs = {name: group["lr_over_base"] for group in groups for name in group["names"]}
    return sum(ours[name] != rate for name, rate in theirs.items())
