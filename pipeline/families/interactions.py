"""Pairwise features of points, from which attention takes a bias.

Nothing here knows torch; the functions themselves are in `pipeline.nn.interactions`,
or in a file of the user's own.
"""

from typing import Annotated, Self

from pydantic import AfterValidator, PositiveInt, ValidationInfo, field_validator, model_validator

from pipeline.catalog import Declaration, own_code

MODULE = "pipeline.nn.interactions"


class Interaction(Declaration):
    """A function of the `columns` of two points that gives `features` numbers.

    `function` is an import path, "module:name", or a custom "file.py:name": it takes a and b, both
    (..., C) in the order of `columns`, as the model reads them, and returns (..., features). With
    `symmetric` it gives the same for (b, a), and is called once for both.
    """

    function: str
    columns: tuple[str, ...]
    features: PositiveInt
    symmetric: bool = False

    @field_validator("function")
    @classmethod
    def _whole_path(cls, function: str, info: ValidationInfo) -> str:
        """Return the import path; of the user's own file from the root on, if it has the name."""
        return own_code(function, info) if ".py:" in function else function

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Check that there are columns, and a function."""
        if not self.columns or len(set(self.columns)) != len(self.columns):
            message = f"columns {list(self.columns)}: give one or more, each once"
            raise ValueError(message)
        file, _, name = self.function.rpartition(":")
        if not name or not file:
            message = f"function {self.function!r}: expected file.py:name"
            raise ValueError(message)
        return self

    def places(self, columns: tuple[str, ...]) -> list[int]:
        """Return where the columns stand in `columns`, those that the model reads."""
        return [columns.index(name) for name in self.columns]


INTERACTIONS = {
    "jets": Interaction(
        function=f"{MODULE}:jets",
        columns=("px", "py", "pz", "energy"),
        features=4,
        symmetric=True,
    ),
    "jets8": Interaction(
        function=f"{MODULE}:jets8",
        columns=("px", "py", "pz", "energy"),
        features=8,
    ),
    "pet": Interaction(
        function=f"{MODULE}:pet",
        columns=("deta", "dphi", "log_pt"),
        features=3,
        symmetric=True,
    ),
}


def _known(requested: str | Interaction) -> str | Interaction:
    """Check that a name is one of ours; "" is no interaction."""
    if isinstance(requested, str) and requested and requested not in INTERACTIONS:
        known = ", ".join(INTERACTIONS)
        message = (
            f"{requested!r} is none of {known}; a custom one is "
            '{ function = "file.py:name", columns = [...], features = 1 }, and "" is none'
        )
        raise ValueError(message)
    return requested


Interacts = Annotated[str | Interaction, AfterValidator(_known)]


def interaction_of(requested: str | Interaction) -> Interaction | None:
    """Return the interaction that a model asks for, by name or as declared; None for ""."""
    if isinstance(requested, Interaction):
        return requested
    return INTERACTIONS[requested] if requested else None


def with_columns(inputs: tuple[str, ...], requested: str | Interaction) -> tuple[str, ...]:
    """Return the columns `inputs`, and behind them those of the interaction that are not there."""
    pairs = interaction_of(requested)
    return tuple(dict.fromkeys((*inputs, *(pairs.columns if pairs else ()))))
