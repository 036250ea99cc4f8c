"""How the authors of MPM trained its VQ-VAE: their settings, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

STEPS, WARMUP = 200 * (50_000 // 64), 10_000

RECIPES: Mapping[str, Recipe] = {
    "tokenize": Recipe(
        source="the authors' configs/model/jet_vq_vae.yaml and scheduler/linear.yaml",
        settings={
            "learning_rate": 1e-4,
            "batch_events": 64,
            "schedule": "trapezoid",
            "decay_fraction": 1 - WARMUP / STEPS,
            "clip_norm": 5.0,
        },
        steps=STEPS,
        warmup=WARMUP / STEPS,
    ),
}
