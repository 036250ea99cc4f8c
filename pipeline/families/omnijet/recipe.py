"""How the authors of OmniJet-alpha trained it: their example experiments, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.recipe import Recipe

EPOCH, LONGEST = 7800, 1_000_000  # steps
FIRST_EPOCH = ((0.0, 1 / 3), (EPOCH / LONGEST, 1 / 3), (EPOCH / LONGEST, 1.0), (1.0, 1.0))

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source="the authors' configs/experiment/example_experiment_generative.yaml",
        settings={
            "learning_rate": 1e-3,
            "batch_events": 256,
            "schedule": "points",
            "points": FIRST_EPOCH,
            "clip_norm": 5.0,
        },
        steps=LONGEST,
        differs=("ended 20 epochs without a lower validation loss there; no such end here",),
    ),
    "jets": Recipe(
        source="the authors' configs/experiment/example_experiment_classification.yaml",
        settings={
            "learning_rate": 1e-4,
            "batch_events": 512,
            "schedule": "constant",
            "clip_norm": 5.0,
        },
        differs=("the first epoch has a third of the rate there",),
    ),
}
