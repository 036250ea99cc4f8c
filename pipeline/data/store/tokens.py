"""What stands beside the shards of a store of tokens: the tokenizer that made them, whole."""

import json
from pathlib import Path
from typing import Any

from pipeline.data.errors import BadInput
from pipeline.data.store.opened import Store
from pipeline.writing import write_json

TOKENIZER = "tokenizer.json"
WEIGHTS = "tokenizer.pt"


def write_tokenizer(store: Path, declaration: dict[str, Any], codes: int) -> None:
    """Write what was declared, and its numbers of codes and of words, into the folder `store`."""
    write_json(
        store / TOKENIZER,
        {"tokenizer": declaration, "codes": codes, "vocabulary": codes + 2},
    )


def read_tokenizer(store: Store) -> dict[str, Any]:
    """Return what `write_tokenizer` wrote; its hash was compared when the store was opened.

    Raises:
        BadInput: This is no store of tokens.
    """
    if TOKENIZER not in store.manifest.files:
        message = (
            f"{store.path}: no tokens here, only {store.manifest.experiment} as it was staged. "
            "Name a tokenizer as the dataset, which makes tokens of it."
        )
        raise BadInput(message)
    tokenizer: dict[str, Any] = json.loads((store.path / TOKENIZER).read_text())
    return tokenizer


def read_declaration(path: Path) -> dict[str, Any]:
    """Return the same of the file `path`, which may lie beside a model.

    Raises:
        BadInput: It is not there, or declares no tokenizer.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return {"tokenizer": content["tokenizer"], "codes": content["codes"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = (
            f"{path}: declares no tokenizer ({type(error).__name__}), which makes tokens of files "
            "for this model. Export the model again, or tokenise its store once more."
        )
        raise BadInput(message) from error


def check_codes(store: Store, wanted: int) -> None:
    """Check that the tokens in `store` are of as many codes as a model has.

    Raises:
        BadInput: They are not, or it holds no tokens.
    """
    codes = read_tokenizer(store)["codes"]
    if codes != wanted:
        message = f"{store.path}: tokens of {codes} codes; this model expects {wanted}. "
        message += f"Set codes = {codes}, or tokenise with {wanted}."
        raise BadInput(message)
