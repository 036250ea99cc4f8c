"""A trained model: predictions and hidden states of events of a store, or of files."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import awkward
import numpy as np
import pyarrow as pa

from cosmotron.stores import Store
from pipeline.data.errors import BadInput
from pipeline.training.loaded import Loaded

if TYPE_CHECKING:
    from torch import nn

    from pipeline.training.loaded import Part

Source = Store | str | PathLike[str] | Sequence[str | PathLike[str]]


class Model:
    """A model with its weights, ready to predict."""

    def __init__(self, loaded: Loaded, title: str) -> None:
        self._loaded, self._title = loaded, title

    def __repr__(self) -> str:
        return f"Model({self._title})"

    @property
    def module(self) -> "nn.Module":
        """The torch module, in evaluation mode; it takes batches as `store.batches` gives them.

        >>> sum(each.numel() for each in model.module.parameters()) > 1000
        True
        """
        return self._loaded.module

    def predict(self, source: Source, split: str = "test") -> awkward.Array:
        """Return what the head predicts of each event of a store's `split`, or of files.

        The columns are those of docs/predictions.md, `truth_*` where the truth is known.

        >>> found = model.predict(store, "test")
        >>> found.fields[:4], len(found)
        (['event_id', 'file', 'entry', 'track'], 8)
        >>> model.predict("spacepoints.npz").fields
        ['event_id', 'file', 'entry', 'track', 'confidence']

        Raises:
            BadInput: The model has no head, or the events are not such as it reads.
        """
        tables = [self._loaded.table(each) for each in self._parts(source, split)]
        return awkward.from_arrow(pa.concat_tables(tables))

    def embed(
        self,
        source: Source,
        split: str = "test",
        *,
        of: Literal["events", "points"] = "events",
        layer: int = -1,
    ) -> Any:
        """Return hidden states of the backbone, in the order of the source.

        Of events an array (E, W): the state of the event's token, or the mean over its points. Of
        points a list for each event of their states (W) after `layer`, the last by default.

        >>> model.embed(store, "train").shape
        (8, 32)
        >>> states = model.embed(store, "train", of="points", layer=0)
        >>> len(states), len(states[0]) == len(store["train"][0].points), len(states[0, 0])
        (8, True, 32)

        Raises:
            BadInput: The model has no backbone, or the events are not such as it reads.
        """
        parts = [(self._loaded.states(each, of, layer), each.events.sizes)
                 for each in self._parts(source, split)]  # fmt: skip
        states, sizes = (np.concatenate(each) for each in zip(*parts, strict=True))
        if of == "events":
            return states
        return awkward.unflatten(awkward.from_numpy(states, regulararray=True), sizes)

    def _parts(self, source: Source, split: str) -> "Iterator[Part]":
        """Return some events at a time, of a store or of files."""
        if isinstance(source, Store):
            return self._loaded.of_store(source.path, split)
        if not isinstance(source, str | PathLike):
            return self._loaded.of_files([fspath(each) for each in source])
        if (Path(source) / "manifest.json").is_file():
            return self._loaded.of_store(Path(source), split)
        return self._loaded.of_files([fspath(source)])


def published(family: str, file: Path, size: str, device: str) -> Model:
    """Return the model of `family` whose authors published the weights in `file`."""
    from pipeline.training.programs.convert import import_weights

    with tempfile.TemporaryDirectory() as folder:
        import_weights(family, file, Path(folder) / family, size=size)
        loaded = Loaded.of(Path(folder) / family, None, device)
        with contextlib.suppress(BadInput):  # a family without a backbone
            loaded.hidden_of  # noqa: B018 - loaded from the folder, which goes now
    return Model(loaded, f"{family}, as published")
