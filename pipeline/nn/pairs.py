"""All pairs of tokens of each event, packed end to end, and a bias of attention for each of them.

Axes: P tokens of all events, packed · B events · N events of a run · L tokens of an event · S pairs
of tokens of one event, Σ L², packed · U unordered pairs, Σ L (L + 1) / 2, a token with itself among
them · H heads · K features.

The pairs of an event follow each other as (query, key): all keys of its first token, then of the
next. Of unordered pairs those are kept whose key does not stand behind the query.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.nn.attention import Bias
from pipeline.nn.lengths import Lengths


@dataclass(frozen=True)
class Pairs:
    """The pairs of the events of a batch, made once and shared by all layers."""

    lengths: Lengths

    @cached_property
    def ordered(self) -> tuple[Tensor, Tensor]:
        """The rows of query and key of each pair (S)."""
        query = self._of_queries.event
        return query, self._of_queries.index_in_event + self.lengths.starts[query]

    @cached_property
    def unordered(self) -> tuple[Tensor, Tensor]:
        """The rows of query and key of each unordered pair (U)."""
        number = sum(count * size * (size + 1) // 2 for count, size in self.lengths.runs)
        keys, device = self.lengths.index_in_event + 1, self.lengths.offsets.device
        query = torch.arange(self.lengths.tokens, device=device)
        query = query.repeat_interleave(keys, output_size=number)
        before = keys.cumsum(0) - keys + self.lengths.index_in_event
        key = torch.arange(number, device=device) + (query - before[query])
        return query, key

    @cached_property
    def mirrored(self) -> Tensor:
        """For each pair (S), which of the unordered pairs (U) it is."""
        query, key = self.ordered
        later, earlier = query.maximum(key), query.minimum(key)
        index = self.lengths.index_in_event
        before = index.cumsum(0) + torch.arange(len(index), device=query.device)
        starts = before - index  # the sum of places + 1 of all tokens before
        return starts[later] + index[earlier]

    @cached_property
    def _of_queries(self) -> Lengths:
        """How many pairs each token has as their query: as many as its event has tokens."""
        return self.lengths.of_tokens(self.lengths.spread(self.lengths.sizes), lambda size: size)

    def of_function(self, *, symmetric: bool) -> tuple[Tensor, Tensor]:
        """Return the rows of query and key of the pairs that a function takes.

        A `symmetric` one takes each unordered pair once.
        """
        return self.unordered if _halved(symmetric) else self.ordered

    def of_all(self, values: Tensor, *, symmetric: bool) -> Tensor:
        """Return (S, K) of the values of all pairs that `of_function` named."""
        return values[self.mirrored] if _halved(symmetric) else values

    @property
    def count(self) -> int:
        """The number of pairs, S."""
        return self._of_queries.tokens

    def numbers(self, query: Tensor, key: Tensor) -> Tensor:
        """Return which of the pairs (S) those of the rows `query` and `key` are; all of a shape."""
        return self._of_queries.offsets[query] + self.lengths.index_in_event[key]

    def bias(self, values_SH: Tensor) -> Bias:
        """Return the bias of attention whose value for each pair and head is given.

        On an accelerator, whose calls are dear, as one padded tensor if there are several runs.
        """
        if values_SH.is_cuda and len(self.lengths.runs) > 1:
            return Bias(padded=self.padded(values_SH))
        sizes = [count * length * length for count, length in self.lengths.runs]
        parts = zip(values_SH.split(sizes), self.lengths.runs, strict=True)
        return Bias(
            tuple(
                part.view(count, length, length, -1).permute(0, 3, 1, 2)
                for part, (count, length) in parts
            )
        )

    def padded(self, values_SH: Tensor) -> Tensor:
        """Return (B, H, L, L) of the pairs, -∞ where a key is none: no token sees it.

        A query that is none sees something, so that no softmax is over nothing.
        """
        query, key = self.ordered
        sizes, longest = self.lengths.sizes, self.lengths.longest
        real = torch.arange(longest, device=sizes.device) < sizes.unsqueeze(1)  # (B, L)
        empty = values_SH.new_zeros(len(sizes), longest, longest, values_SH.shape[1])
        nothing = real.unsqueeze(2) & ~real.unsqueeze(1)
        empty = empty.masked_fill(nothing.unsqueeze(3), -torch.inf).flatten(0, 2)
        places = self.lengths.padded[query] * longest + self.lengths.index_in_event[key]
        filled = empty.index_copy(0, places, values_SH)
        return filled.view(len(sizes), longest, longest, -1).permute(0, 3, 1, 2)


def _halved(symmetric: bool) -> bool:
    """Return whether half of the pairs will do; an exported graph cannot list that half."""
    return symmetric and not torch.compiler.is_exporting()
