"""Tokenizers at hand: jets cut to what they take, and a tokenizer from a store of its tokens."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.loading import Selection
from pipeline.data.normalisation import normalised
from pipeline.data.preparation.constituents import COLUMNS, constituents, needed
from pipeline.data.store import Store
from pipeline.data.store.tokens import WEIGHTS, read_declaration, read_tokenizer
from pipeline.families import AnyTokenizer, Reads
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.writing import written

BATCH_JETS = 256


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
    return _module(read_tokenizer(store)["tokenizer"], store.path / WEIGHTS, device)


def beside(path: Path, device: torch.device) -> tuple[Codec, int]:
    """Return the tokenizer that the file `path` declares, and its number of codes.

    Raises:
        BadInput: The file declares none, or its weights are not beside it.
    """
    declared = read_declaration(path)
    weights = path.with_name(WEIGHTS)
    if not weights.is_file():
        message = f"{weights}: not there; these are the weights of the tokenizer {path}."
        raise BadInput(message)
    return _module(declared["tokenizer"], weights, device), declared["codes"]


def _module(declared: dict[str, Any], weights: Path, device: torch.device) -> Codec:
    """Return the declared tokenizer with its `weights`."""
    tokenizer = TypeAdapter[AnyTokenizer](AnyTokenizer).validate_python(declared)
    module = systems.build(tokenizer, None).module
    module.load_state_dict(torch.load(weights, weights_only=True))
    codec: Codec = module.to(device).eval()  # type: ignore[assignment]
    return codec


@torch.no_grad()
def coded(
    codec: Codec, points: Array, offsets: Array, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the codes of constituents (P, 3) in physical units, and the offsets, of some jets."""
    features = torch.from_numpy(normalised(points, COLUMNS))
    for start in range(0, len(offsets) - 1, BATCH_JETS):
        cuts = offsets[start : start + BATCH_JETS + 1]
        here = features[cuts[0] : cuts[-1]].to(device)
        within = torch.from_numpy(cuts - cuts[0]).to(device)
        yield codec.encode(here, within), within


def token_type(codes: int) -> type[np.uint16] | type[np.int32]:
    """Return the type of tokens of so many codes."""
    return np.uint16 if codes <= 1 << 16 else np.int32
