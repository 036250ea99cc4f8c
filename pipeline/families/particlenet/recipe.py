"""How ParticleNet was trained on JetClass: train_JetClass.sh, read in November 2026."""

from collections.abc import Mapping

from pipeline.families.part.recipe import RANGER, SOURCE
from pipeline.families.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    "pretrain": Recipe(
        source=SOURCE,
        settings={**RANGER, "learning_rate": 1e-2},
        steps=1_000_000,
        differs=("the best epoch by validation accuracy is kept there; by loss here, if asked",),
    ),
}
