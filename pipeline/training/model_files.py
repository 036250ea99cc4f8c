"""Events of files as a model reads them: prepared as when staged, with tokens if it takes them.

Axes: E events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from pipeline.data.errors import BadInput
from pipeline.data.events import Events
from pipeline.data.experiment import Column
from pipeline.data.jet_inputs import ARRAYS
from pipeline.data.preparation.constituents import COLUMNS, Constituents, constituents, needed
from pipeline.data.prepared_files import FileEvents, PreparedFiles, check_reads
from pipeline.families import Reads
from pipeline.families.omnijet.spec import TOKEN
from pipeline.nn.tokenizers import Codec, beside, coded, token_type


@dataclass(frozen=True)
class ModelFiles:
    """Files for a model that `reads` events of such `columns`; `codec` makes tokens, if any."""

    files: PreparedFiles
    reads: Reads
    columns: Sequence[Column]
    codec: Codec | None
    codes: int
    device: torch.device

    @classmethod
    def of(cls, files: PreparedFiles, reads: Reads, device: torch.device) -> Self:
        """Return the files as the model that `reads` them has them, on `device`.

        Raises:
            BadInput: The tokenizer is not there, or of another number of codes.
        """
        if not files.files.tokenizer:
            columns = files.preparation().experiment.columns
            return cls(files, reads, columns, None, 0, device)
        path = files.folder / files.files.tokenizer
        codec, codes = beside(path, device)
        if reads.codes and codes != reads.codes:
            message = f"{path}: a tokenizer of {codes} codes; this model expects {reads.codes}."
            raise BadInput(message)
        return cls(files, reads, COLUMNS, codec, codes, device)

    def stream(self, name: str, events: int) -> Iterator[FileEvents]:
        """Yield the events of the file `name`, from `events` entries each.

        Raises:
            BadInput: It cannot be read, or lacks what the model reads.
        """
        for found in self.files.stream(name, events):
            there = found if self.codec is None else self._tokenised(found, self.codec)
            if len(there.entry):
                yield replace(there, events=check_reads(there.events, self.reads))

    def _tokenised(self, found: FileEvents, codec: Codec) -> FileEvents:
        """Return the jets with tokens, as a store of tokens has them; what is cut is counted."""
        events = found.events
        chosen = [events.columns.index(name) for name in needed(events.columns)]
        left = constituents(events.points[:, chosen], events.offsets)
        self.files.rejected.update(left.cut)
        return replace(
            found, events=self._with_tokens(events, left, codec), entry=found.entry[left.kept]
        )

    def _with_tokens(self, events: Events, left: Constituents, codec: Codec) -> Events:
        """Return what is `left` of the jets `events`, with a token for each constituent."""
        codes = coded(codec, left.points, left.offsets, self.device)
        found = [np.empty(0, np.int64), *(code.cpu().numpy() for code, _ in codes)]
        token = np.concatenate(found).astype(token_type(self.codes))
        identity = {n: events.per_point[n][left.rows] for n in ARRAYS if n in events.per_point}
        return replace(
            events,
            points=left.points,
            columns=tuple(column.name for column in COLUMNS),
            offsets=left.offsets,
            event_id=events.event_id[left.kept],
            per_point={TOKEN: token, **identity},
            per_event={name: each[left.kept] for name, each in events.per_event.items()},
            verified=True,
        )
