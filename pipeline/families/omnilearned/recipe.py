"""How the authors of OmniLearned trained it: their command line, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

LION = {
    "optimiser": "lion",
    "betas": (0.95, 0.98),
    "no_weight_decay": ("norm", "token"),
    "clip_norm": 1.0,
    "schedule": "cosine",
}
_BATCH = "batch_events is that of one process there; how many there were is not published"

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source="the authors' cli.py, train.py and README: size small",
        settings={**LION, "learning_rate": 5e-5, "batch_events": 128, "weight_decay": 0.0},
        steps=500_000,
        ema_steps=1000,
        differs=(_BATCH,),
    ),
    "jets": Recipe(
        source="the authors' README: fine-tuning of size small",
        settings={**LION, "learning_rate": 5e-5, "batch_events": 64, "weight_decay": 0.1},
        ema_steps=1000,
        differs=(_BATCH,),
    ),
}
