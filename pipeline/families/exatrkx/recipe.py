"""How the authors of Exa.TrkX trained it: their Quickstart, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.eggnet.recipe import falling
from pipeline.families.recipe import Recipe

EPOCHS = 30
NETWORK = Recipe(
    source="the authors' Examples/TrackML_Quickstart/pipeline_config.yaml: the interaction network",
    settings={
        "learning_rate": 2e-3,
        "batch_events": 1,
        "schedule": "points",
        "points": falling(EPOCHS, 8, 0.7),
        "amsgrad": True,
    },
    warmup=10 / EPOCHS,
    differs=(
        "space, filter and network are trained one after the other there, together here",
        "the space learns at 1e-3, times 0.7 every 4 epochs, after 8 of warm-up there",
        "the filter, in the longer pipeline, at 1e-2 for 100 epochs",
    ),
)
RECIPES: Mapping[str, Recipe] = {"pretrain": NETWORK, "edges": NETWORK}
