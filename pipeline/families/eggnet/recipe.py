"""How the authors of EggNet trained it: their settings for TrackML, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

EPOCHS, EVERY, FACTOR = 200, 20, 0.8


def falling(epochs: int, interval: int, factor: float) -> tuple[tuple[float, float], ...]:
    """Return a rate that is multiplied by `factor` after each `interval` of `epochs` epochs."""
    points = [(0.0, 1.0)]
    for number, epoch in enumerate(range(interval, epochs, interval), 1):
        points += [(epoch / epochs, points[-1][1]), (epoch / epochs, factor**number)]
    return (*points, (1.0, points[-1][1]))


EGGNET = Recipe(
    source="the authors' configs/trackML/eggnet_trackml.yaml",
    settings={
        "learning_rate": 2e-4,
        "batch_events": 4,
        "schedule": "points",
        "points": falling(EPOCHS, EVERY, FACTOR),
        "amsgrad": True,
    },
    warmup=10 / EPOCHS,
    differs=("fp16 there; fp32 or bf16 here",),
)
RECIPES: Mapping[str, Recipe] = {"pretrain": EGGNET, "clusters": EGGNET}
