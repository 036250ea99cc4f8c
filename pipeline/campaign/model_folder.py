"""A model as a folder for others: `weights.safetensors`, `config.toml` and a card, `README.md`.

`cosmotron export` writes one of a training, `cosmotron weights import` of the authors' weights, and
`weights = "FOLDER"` of a campaign's model starts from one. The Hugging Face hub knows a model by
other names of the same files: `model.safetensors` and `config.json`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from pydantic import NonNegativeInt, PositiveInt

from pipeline import catalog
from pipeline.campaign.sections import Mode, Order
from pipeline.catalog import Declaration
from pipeline.downstream import AnyTask
from pipeline.families import AnyTokenizer, Model

CONFIG, WEIGHTS, CARD = "config.toml", "weights.safetensors", "README.md"


class Names(NamedTuple):
    """The names of the files of a model."""

    config: str
    weights: str


OURS, HUB = Names(CONFIG, WEIGHTS), Names("config.json", "model.safetensors")


class StoredWeights(Declaration):
    """Where the weights of a folder come from; the SHA-256 is of their names and values.

    `counters` are the numbers of batches that the authors' batch norms saw, by their names. Nothing
    reads them; an export has them again.
    """

    sha256: str
    source: str = ""
    licence: str = ""
    counters: dict[str, int] = {}


class SourceFiles(Declaration):
    """How files are read that events come from: as those that a model was trained on.

    `bins` is the file of voxel bins, in the model's folder or anywhere; "" for an order without.
    So is `tokenizer` the declaration of that which makes tokens of the events, whose weights lie
    beside it; "" for a model that reads none.
    """

    experiment: str
    reader: dict[str, str] = {}
    event_key: str = ""
    order: Order
    neighbours: NonNegativeInt = 0
    min_points: NonNegativeInt = 1
    max_points: PositiveInt
    bins: str = ""
    tokenizer: str = ""


class ModelFolder(Declaration):
    """The content of `config.toml`: the model, and the head of a fine-tuned one.

    `mode`, `lora_rank` and `cached` are those of its fine-tuning, and decide its modules. `files`
    says how to read files; None of imported weights, and where an earlier version
    exported it.
    """

    model: Model | AnyTokenizer
    head: AnyTask | None = None
    mode: Mode = "full"
    lora_rank: PositiveInt = 8
    cached: bool = False
    files: SourceFiles | None = None
    weights: StoredWeights


def read(folder: Path) -> ModelFolder | None:
    """Return what the model in `folder` is, None where there is no such file.

    Raises:
        DeclarationError: The file is damaged, or declares something else.
    """
    path = folder / names(folder).config
    return catalog.read(path, ModelFolder) if path.is_file() else None


def names(folder: Path) -> Names:
    """Return the names that files have in `folder`: the hub's if it has those alone."""
    is_hub = (folder / HUB.config).is_file() and not (folder / OURS.config).is_file()
    return HUB if is_hub else OURS


def write(folder: Path, content: ModelFolder, called: Names = OURS) -> None:
    """Write the declaration into `folder`."""
    declared: dict[str, Any] = content.model_dump(mode="json", exclude_none=True)
    is_json = called.config.endswith(".json")
    text = json.dumps(declared, indent=2) + "\n" if is_json else tomli_w.dumps(declared)
    (folder / called.config).write_text(text)
