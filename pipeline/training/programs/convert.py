"""Import the authors' weights, and export ours under their names.

`python -m pipeline.training.programs.convert import FAMILY FILE FOLDER`, and `… export FOLDER
FILE`; what `cosmotron weights` starts. A family's map of names is `published.py` in its folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from pipeline import catalog
from pipeline.campaign import model_folder
from pipeline.campaign.model_folder import CARD, CONFIG, WEIGHTS, ModelFolder, StoredWeights
from pipeline.catalog import Declaration, DeclarationError
from pipeline.data import training_data
from pipeline.data.checksums import sha256
from pipeline.data.errors import BadInput
from pipeline.data.overlap import EventSet, event_set
from pipeline.data.store import Store
from pipeline.data.training_data import TrainingData
from pipeline.families import FAMILIES, TOKENIZERS, AnyTokenizer, Family, Model
from pipeline.masking import print_traceback
from pipeline.nn import published, systems
from pipeline.outcome import Exit, classify
from pipeline.training.engine.engine import weights_hash
from pipeline.training.programs.finetune import trained
from pipeline.training.weights import save, write_tensors
from pipeline.writing import new_folder, written

KNOWN = FAMILIES | TOKENIZERS
LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0"}  # as cards of Hugging Face name them


class ModelFile(Declaration):
    """A file that declares one model, as a `[models.x]` of a campaign does."""

    model: Model | AnyTokenizer


def names_of(family: str) -> tuple[type[Family], ModuleType]:
    """Return the family of this name and its map of the authors' names.

    Raises:
        DeclarationError: There is no such family, or it has no map.
    """
    mapped = {name: kind.beside("published") for name, kind in KNOWN.items()}
    mapped = {name: module for name, module in mapped.items() if module is not None}
    if family not in mapped:
        known = ", ".join(mapped)
        what = "has no map of the authors' names" if family in KNOWN else "is no family of ours"
        message = f"{family} {what}. Weights can be imported of: {known}."
        raise DeclarationError(message)
    return KNOWN[family], mapped[family]


def declared(
    kind: type[Family], names: ModuleType, weights: dict[str, Tensor], size: str, file: Path | None
) -> Family:
    """Return the model that `weights` are of: as a file or a size says, else as their shapes do.

    Raises:
        DeclarationError: The size or the file is none, or neither is given where shapes say too
            little.
        BadInput: The weights are not of this family.
    """
    if file is not None:
        return catalog.read(file, ModelFile).model
    if size:
        return catalog.parse(kind, {"size": size})
    if not hasattr(names, "declared"):
        family = kind.model_fields["family"].default
        message = f"{family}: shapes do not say which model this is. Give --size or --model."
        raise DeclarationError(message)
    found: Family = names.declared(weights)
    return found


def import_weights(
    family: str,
    file: Path,
    to: Path,
    *,
    size: str = "",
    model_file: Path | None = None,
    trained_on: Sequence[str] = (),
) -> str:
    """Write the authors' weights in `file` to the new folder `to`; return what was done.

    A folder of files holds one for each stage. `trained_on` are splits of stores, "STORE:SPLIT".

    Raises:
        DeclarationError: Family, size or declaration are not known.
        BadInput: The file is damaged, holds objects, or weights of another model; or there is no
            such store or split.
        RunError: There is something at `to`.
    """
    kind, names = names_of(family)
    seen = [_events(each, family) for each in trained_on]
    prefix = getattr(names, "PREFIX", "")
    theirs = {name.removeprefix(prefix): each for name, each in published.read_all(file).items()}
    if hasattr(names, "weights_of"):
        theirs = names.weights_of(theirs)
    model = declared(kind, names, theirs, size, model_file)
    shapes = {n: each.shape for n, each in systems.build(model, None).module.state_dict().items()}
    entries = list(names.entries(model))
    weights = published.imported(theirs, entries, shapes, source=str(file))
    counters = {n: int(each) for n, each in theirs.items() if n.endswith(published.COUNTERS)}
    with new_folder(to) as made:
        save(weights, made / WEIGHTS, model.about)
        stored = StoredWeights(
            sha256=weights_hash(weights),
            source=names.SOURCE,
            licence=names.LICENCE,
            counters=counters,
        )
        model_folder.write(made, ModelFolder(model=model, weights=stored))
        (made / CARD).write_text(_card(model, file, stored))
        if seen:
            training_data.write(made, TrainingData(events=tuple(seen)))
    lines = [f"{len(entries)} weights of {family} from {file}"]
    lines.append(f'{to}: start from it with [models.x] weights = "{to}"')
    return "\n".join(lines)


def _events(place: str, family: str) -> EventSet:
    """Return the events of a split of a store, "STORE:SPLIT".

    Raises:
        BadInput: There is no such store or split.
    """
    path, _, split = place.rpartition(":")
    store = Store.open(Path(path).absolute())
    if split not in store.splits:
        message = f"--trained-on {place}: {path} has no split {split!r}, only "
        raise BadInput(message + ", ".join(store.splits) + ".")
    return event_set(store.manifest, store.path, split, f"{family}, by its authors")


def _card(model: Family, file: Path, stored: StoredWeights) -> str:
    """Return the card of imported weights."""
    hashes = "\n".join(
        f"| SHA-256 of the authors' {each.name} | `{sha256(each)}` |"
        for each in published.files(file)
    )
    return f"""---
license: {LICENCES.get(stored.licence, "other")}
library_name: cosmotron
---

# {model.TITLE}

The authors' weights, imported from `{file.name}`.

| | |
| --- | --- |
| family | `{model.family}` ({model.SOURCE}) |
| source | {stored.source} |
| licence there | {stored.licence} |
{hashes}
| SHA-256 of names and values | `{stored.sha256}` |
| declaration | `{CONFIG}` |
"""


def export_weights(folder: Path, file: Path) -> str:
    """Write the weights in `folder` to the new `file` under the authors' names.

    A suffix of .safetensors makes a file of that format, .pt and .ckpt one of torch's.

    Raises:
        DeclarationError: `folder` is no folder of a model, or its family has no map.
        BadInput: The file's format is not known, or there is something at `file`.
    """
    content = model_folder.read(folder)
    if content is None:
        message = (
            f"{folder}: no {CONFIG} here. Give a folder of cosmotron export or weights import."
        )
        raise DeclarationError(message)
    if content.head is not None:
        message = f"{folder}: a fine-tuned model, whose head the authors' code does not know."
        raise DeclarationError(message)
    _, names = names_of(content.model.family)
    if file.suffix not in (".safetensors", ".pt", ".ckpt"):
        message = f"{file}: name a file that ends in .safetensors, .pt or .ckpt."
        raise BadInput(message)
    if file.exists():
        message = f"{file}: is there already. Name another file."
        raise BadInput(message)
    prefix = getattr(names, "PREFIX", "")
    weights = published.exported(trained(folder), names.entries(content.model), prefix=prefix)
    weights |= {prefix + n: torch.tensor(count) for n, count in content.weights.counters.items()}
    if file.suffix == ".safetensors":
        write_tensors(weights, file, {"format": "pt"})
    else:
        with written(file) as unfinished:
            torch.save(weights, unfinished)
    return f"{file}: {len(weights)} weights under the names of {names.SOURCE}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code of the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    ways = parser.add_subparsers(dest="way", required=True)
    inwards = ways.add_parser("import")
    inwards.add_argument("family")
    inwards.add_argument("file", type=Path)
    inwards.add_argument("to", type=Path)
    inwards.add_argument("--size", default="")
    inwards.add_argument("--model", type=Path)
    inwards.add_argument("--trained-on", action="append", default=[])
    outwards = ways.add_parser("export")
    outwards.add_argument("folder", type=Path)
    outwards.add_argument("file", type=Path)
    options: Any = parser.parse_args(arguments)
    try:
        if options.way == "import":
            done = import_weights(
                options.family,
                options.file,
                options.to,
                size=options.size,
                model_file=options.model,
                trained_on=options.trained_on,
            )
        else:
            done = export_weights(options.folder, options.file)
    except Exception as error:  # noqa: BLE001 - classified and reported
        failure = classify(error, where="The folder to write")
        if not failure.is_foreseen:
            print_traceback(error)
        print(failure.message, file=sys.stderr)
        return failure.code
    print(done)
    return Exit.FINISHED


if __name__ == "__main__":
    raise SystemExit(main())
