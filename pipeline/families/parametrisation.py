"""How initialisation, learning rates and residuals of a model follow its width and depth."""

from typing import Literal

from pydantic import PositiveInt, model_validator

from pipeline.catalog import Declaration


class Parametrisation(Declaration):
    """A rule by which a learning rate that was tuned on a base model holds for this one.

    The model of `base_width` (and, for completep, `base_layers`) trains as under "standard"; of
    any other the rule scales what `pipeline.training.parametrisation` lists. It stands at the
    model, for the residual factor is part of what the model computes, also when fine-tuned.

    - mup: width alone (Yang et al., arXiv 2203.03466; for Mamba2 as FM4NPP, arXiv 2508.14087);
    - completep: width and depth (Dey et al., arXiv 2505.01618).
    """

    rule: Literal["standard", "mup", "completep"] = "standard"
    base_width: PositiveInt | None = None
    base_layers: PositiveInt | None = None

    @model_validator(mode="after")
    def _bases_of_rule(self) -> "Parametrisation":
        """Check that the rule has the bases that it scales from, and no others."""
        needed = {"standard": 0, "mup": 1, "completep": 2}[self.rule]
        bases = ("base_width", "base_layers")
        for number, name in enumerate(bases):
            given = getattr(self, name) is not None
            if number < needed and not given:
                message = f'rule "{self.rule}" scales from a base model: give {name}'
                raise ValueError(message)
            if given and number >= needed:
                message = f'rule "{self.rule}" has no {name}: leave it out'
                raise ValueError(message)
        return self

    def residual_scale(self, layers: int) -> float:
        """Return what each block's output is multiplied by before it is added to its input.

        1 / m_L with m_L = layers / base_layers for completep (Dey et al., table 1 with α = 1),
        else 1.
        """
        return self.base_layers / layers if self.base_layers else 1.0
