"""The families of models, a folder each: `spec.py` declares it, without torch.

Beside it lie `module.py` (the torch module), `objective.py` (what it minimises) and `probe.py`
(what a probe of the pretrained model measures). A new family is a new folder; nothing else lists
it. A model of a user's needs no folder: `family = "file.py:build"` takes one file from anywhere.
"""

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from pipeline import catalog
from pipeline.families.family import Family, Parameters, Reads
from pipeline.families.parametrisation import Parametrisation
from pipeline.families.tokenizer import Tokenizer

_SPECS = catalog.discovered(__name__, Family, "family")
FAMILIES = {name: kind for name, kind in _SPECS.items() if not issubclass(kind, Tokenizer)}
TOKENIZERS = {name: kind for name, kind in _SPECS.items() if issubclass(kind, Tokenizer)}


def _with_file(given: Any) -> Any:
    """Return a declaration whose family is "file.py:function" as one of the family "custom"."""
    family = given.get("family", "") if isinstance(given, dict) else ""
    if not isinstance(family, str) or ".py:" not in family:
        return given
    file, _, function = family.rpartition(":")
    return {**given, "family": "custom", "code": file, "function": function}


if TYPE_CHECKING:
    Model = Family
    AnyTokenizer = Tokenizer
else:
    Model = Annotated[
        Annotated[Union[tuple(FAMILIES.values())], Field(discriminator="family")],  # noqa: UP007
        BeforeValidator(_with_file),
    ]
    AnyTokenizer = Annotated[Union[tuple(TOKENIZERS.values())], Field(discriminator="family")]  # noqa: UP007

__all__ = [
    "FAMILIES",
    "TOKENIZERS",
    "AnyTokenizer",
    "Family",
    "Model",
    "Parameters",
    "Parametrisation",
    "Reads",
    "Tokenizer",
]
