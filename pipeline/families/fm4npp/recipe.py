"""How the authors of FM4NPP trained it: their trainers and settings, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

TRAINER = "the authors' public trainer of Mamba models and its settings (mamba_pretrain.yaml)"
TRACKING = "the authors' trainer of tracking and its settings (mamba_tracking.yaml, 863cb28)"

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source=TRAINER,
        settings={
            "learning_rate": 2e-4,
            "batch_events": 256,
            "schedule": "cosine",
            "betas": (0.9, 0.95),
            "weight_decay": 0.1,
            "clip_value": 0.1,
        },
        steps=50_000,
        warmup=1000 / 50_000,
        final=0.1,
        differs=(
            "the warm-up starts at a tenth of the rate there, near 0 here",
            "dropout 0.1 on what each mixer returns there; 0 here unless the model sets dropout",
            "the best checkpoint by validation loss is kept there; here with validation.weights",
            "clip_value is that of the tracking settings: those of pretraining lack it",
            "the paper tells of 10,000 steps of warm-up and a decay of 0.01",
        ),
    ),
    "tracks": Recipe(
        source=TRACKING,
        settings={
            "learning_rate": 1e-4,
            "batch_events": 32,
            "schedule": "cosine",
            "weight_decay": 1e-4,
            "clip_norm": 1.0,
        },
        steps=200 * 70_000 // 32,
        warmup=20 / 200,
        final=0.1,
        differs=(
            "the rate changes once an epoch there, and starts at a tenth; at each step here",
            "batches of 4 in the settings, 16 or 32 in the scripts that ran",
            "at most 200 epochs, ended 15 epochs without progress once past 60; no such end here",
            "bf16 there; precision is the site's choice here",
        ),
    ),
}
