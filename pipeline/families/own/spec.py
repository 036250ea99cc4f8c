"""A model of the user's own: one file, which only the training programs load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, NonNegativeInt, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads


def _there(path: Path) -> Path:
    """Return `path` from the root on, if there is such a file."""
    if not path.is_file():
        message = f"{path}: no such file, from {Path.cwd()}"
        raise ValueError(message)
    return path.resolve()


class Own(Family):
    """The model that `build(settings)` in the file `code` returns; `settings` are the file's own.

    Each of `objectives` is a function of the same file, or of another as "file.py:name". `columns`,
    `per_point`, `per_event`, `tables` and `neighbours` say what is read of the store.
    """

    TITLE: ClassVar[str] = "a model of your own, in one file"
    SOURCE: ClassVar[str] = "docs/add-a-model.md"
    TAKES_HEADS: ClassVar[bool] = False
    OBJECTIVES: ClassVar[tuple[str, ...]] = ()
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {}
    TOKENS: ClassVar[float] = 0

    family: Literal["own"] = "own"
    code: Annotated[Path, AfterValidator(_there)]
    settings: dict[str, Any] = {}
    columns: tuple[str, ...]
    per_point: tuple[str, ...] = ()
    per_event: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    neighbours: NonNegativeInt = 0
    most_points: PositiveInt | None = None

    @model_validator(mode="after")
    def _known_objectives(self) -> "Own":
        """Check that there is something to minimise; only the file knows what there is."""
        if not self.objectives:
            message = f"objectives: name those of {self.code.name} to minimise, with their weights"
            raise ValueError(message)
        return self

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights, of objectives in the same file where no other is named."""
        return {
            name if ".py:" in name else f"{self.code}:{name}": weight
            for name, weight in self.objectives.items()
        }

    def reads(self) -> Reads:
        """Return what the declaration says."""
        return Reads(
            self.columns,
            self.per_point,
            self.per_event,
            self.tables,
            self.neighbours,
            most_points=self.most_points,
        )

    def parameters(self) -> Parameters | None:
        """Return None: only the file knows."""
        return None

    def flops_per_token(self, tokens: float) -> float | None:  # noqa: ARG002
        """Return None: only the file knows."""
        return None
