"""How the authors of OmniJet-alpha trained their tokenizer: example experiments, November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

EPOCHS = 100
# The rate rises in 4 epochs, falls to its first value in 20 and to 3e-4 in 50, then stays.
POINTS = ((0.0, 0.5), (4 / EPOCHS, 1.0), (24 / EPOCHS, 0.5), (74 / EPOCHS, 0.3), (1.0, 0.3))

RECIPES: Mapping[str, Recipe] = {
    "tokenize": Recipe(
        source="the authors' configs/experiment/experiment_tokenization_transformer.yaml",
        settings={
            "learning_rate": 1e-3,
            "batch_events": 512,
            "schedule": "points",
            "points": POINTS,
            "clip_norm": 5.0,
        },
        steps=EPOCHS * 5850,
        differs=("the rate changes once an epoch there, at each step here",),
    ),
}
