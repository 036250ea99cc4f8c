"""How the authors of EPiC-FM trained it: their settings of 150 particles, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source="the authors' configs/experiment/fm_tops150.yaml and callbacks/ema.yaml",
        settings={
            "learning_rate": 1e-3,
            "batch_events": 1024,
            "schedule": "cosine",
            "weight_decay": 5e-5,
            "clip_norm": 0.5,
        },
        warmup=0.1,
        ema_steps=1000,
        differs=(
            "the rate changes once an epoch there, and its half cosine runs under the warm-up, too",
            "the best epoch by W1 of the jet mass is kept there",
        ),
    ),
}
