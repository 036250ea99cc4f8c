"""How the authors of ParT trained it: weaver-core and train_JetClass.sh, read in November 2026."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.families.recipe import Recipe

SOURCE = "the authors' train_JetClass.sh and weaver-core (train.py, ranger.py)"


def flat_then_falling(epochs: int) -> tuple[tuple[float, float], ...]:
    """Return weaver's schedule: flat for 70 % of the epochs, then each epoch a factor, to 1 %."""
    flat = round(0.7 * epochs)
    factor = 0.01 ** (1 / (epochs - flat))
    steps = [(number / epochs, factor ** (number - flat)) for number in range(flat, epochs)]
    points = [(0.0, 1.0)]
    for share, value in steps[1:]:
        points += [(share, points[-1][1]), (share, value)]
    return (*points, (1.0, points[-1][1]))


RANGER = {
    "optimiser": "ranger",
    "betas": (0.95, 0.999),
    "epsilon": 1e-5,
    "weight_decay": 0.0,
    "batch_events": 512,
    "schedule": "points",
    "points": flat_then_falling(50),
}
JETCLASS = Recipe(
    source=SOURCE,
    settings={**RANGER, "learning_rate": 1e-3},
    steps=1_000_000,
    differs=(
        "mixed precision there (fp16 in 2022, bf16 since); precision is the site's choice here",
        "the best epoch by validation accuracy is kept there; by validation loss here, if asked",
    ),
)
RECIPES: Mapping[str, Recipe] = {
    "pretrain": JETCLASS,
    "pretrain sophon": replace(
        JETCLASS,
        source="arXiv:2405.12972 and the authors' training script",
        settings={**RANGER, "learning_rate": 5e-4, "points": flat_then_falling(80)},
        steps=0,
    ),
}
