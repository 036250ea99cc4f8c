"""Tokenizers at hand: jets cut to what they take, and a tokenizer from a store of its tokens."""

import io
from pathlib import Path
from typing import Protocol

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.data.loading import Selection
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.constituents import COLUMNS, constituents, needed
from pipeline.data.store import Store
from pipeline.data.store.tokens import WEIGHTS, read_tokenizer
from pipeline.families import AnyTokenizer, Reads
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.writing import written


class Codec(Protocol):
    """What a tokenizer's module does, for P constituents of jets that are cut at `offsets`."""

    def encode(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Return the codes (P) of the features (P, 3)."""

    def decode(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Return the features (P, 3) of the codes (P)."""


def jets(path: Path, split: str, events: int | None) -> Selection:
    """Return `events` jets (all, if None) of a split of the store in `path`.

    Raises:
        BadInput: There is no store.
    """
    stored = [column.name for column in Store.open(path).manifest.columns]
    return Selection(path, split, Reads(needed(stored)), events)


def featured(batch: Batch) -> Batch:
    """Return the jets of `batch` as the three features of the constituents that a tokenizer takes.

    A jet that loses all its constituents is left out, so that means are over the other jets.

    Raises:
        BadInput: No jet has any constituent left.
    """
    left = constituents(batch.points.numpy(), batch.offsets.numpy())
    if not left.kept.any():
        message = (
            f"events {batch.event_id.tolist()}: no constituent within 0.8 of its jet's axis. "
            "Is this a store of jets, each with the momenta of its constituents?"
        )
        raise BadInput(message)
    kept = torch.from_numpy(left.kept)
    return Batch(
        points=torch.from_numpy(normalised(left.points, COLUMNS)),
        offsets=torch.from_numpy(left.offsets),
        event_id=batch.event_id[kept],
        epoch=None if batch.epoch is None else batch.epoch[kept],
        seed=batch.seed,
    )


def save(module: nn.Module, path: Path) -> None:
    """Write the weights of `module` to `path`, whole or not at all; equal weights, equal bytes."""
    content = io.BytesIO()
    weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    torch.save(weights, content)
    with written(path) as temporary:
        temporary.write_bytes(content.getvalue())


def load(store: Store, device: torch.device) -> Codec:
    """Return the tokenizer that made the tokens in `store`, on `device`, in evaluation mode.

    Raises:
        BadInput: It is no store of tokens.
    """
    declared = read_tokenizer(store)["tokenizer"]
    tokenizer = TypeAdapter[AnyTokenizer](AnyTokenizer).validate_python(declared)
    module = systems.build(tokenizer, None).module
    module.load_state_dict(torch.load(store.path / WEIGHTS, weights_only=True))
    codec: Codec = module.to(device).eval()  # type: ignore[assignment]
    return codec
