"""How the authors of MPM trained it: their settings, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

STEPS, WARMUP = 200 * (50_000 // 256), 10_000

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source="the authors' configs/model/vq_vae_mpm.yaml and scheduler/linear.yaml",
        settings={
            "learning_rate": 5e-5,
            "batch_events": 256,
            "schedule": "trapezoid",
            "decay_fraction": 1 - WARMUP / STEPS,
            "clip_norm": 5.0,
        },
        steps=STEPS,
        warmup=WARMUP / STEPS,
    ),
    "jets": Recipe(
        source="the authors' configs/model/fine_tune.yaml",
        settings={
            "learning_rate": 1e-4,
            "batch_events": 256,
            "schedule": "constant",
            "clip_norm": 5.0,
        },
        differs=(
            "the backbone is frozen for the first 2 epochs there",
            "ended 5 epochs without a lower validation loss there; no such end here",
        ),
    ),
}
