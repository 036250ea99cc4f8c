"""How the authors of PolarBERT trained it: their example settings, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

_PRECISION = "fp16 with loss scaling there; fp32 or bf16 here"

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source="the authors' configs/polarbert.example.yaml and base_model.py",
        settings={
            "learning_rate": 3e-3,
            "batch_events": 200,
            "schedule": "one-cycle",
            "betas": (0.85, 0.9998),
            "max_beta": 0.95,
            "epsilon": 1e-7,
            "weight_decay": 0.02,
            "clip_norm": 2.0,
        },
        steps=50_000,
        warmup=0.2,
        final=1.2e-8 / 3e-3,
        differs=(
            _PRECISION,
            "the best checkpoint by validation loss is kept there; here with validation.weights",
        ),
    ),
    "direction": Recipe(
        source="the authors' configs/finetuning.example.yaml and finetuning.py",
        settings={
            "learning_rate": 1.5e-5,
            "batch_events": 200,
            "schedule": "one-cycle",
            "betas": (0.92, 0.9998),
            "max_beta": 0.95,
            "epsilon": 3e-7,
            "weight_decay": 0.0,
            "clip_norm": 2.0,
        },
        steps=20 * 3_000_000 // 200,
        warmup=0.01,
        final=1 / 250_000,
        differs=(_PRECISION,),
    ),
}
