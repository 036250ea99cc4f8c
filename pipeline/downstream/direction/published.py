"""Published numbers of the direction of neutrinos."""

from pipeline.downstream.literature import Literature, Published

LITERATURE = Literature(
    (
        Published("IceCube on Kaggle", "PolarBERT", {"mean_angle_rad": 0.984},
                  "slides of PolarBERT", "of the level of a silver medal"),
    ),
)  # fmt: skip
