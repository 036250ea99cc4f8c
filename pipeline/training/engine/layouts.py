"""Where the elements of each parameter lie in what one process keeps under a ZeRO stage.

A process keeps the trained weights, in single precision, and every state of the optimiser in a list
of flat tensors, the slots. Which elements of which parameter a slot holds follows from the stage,
the parameters in their order and the number of processes (deepspeed/runtime/zero, 0.19):

- stage 0: a slot for each parameter, whole, in every process;
- stages 1 and 2: a slot for each group, one parameter after another, cut into equal parts;
- stage 3: a slot for each group, of a part of every parameter, each cut by itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

Shapes = Sequence[Mapping[str, Sequence[int]]]


@dataclass(frozen=True)
class Span:
    """`count` elements of the parameter `name`, from its element `begin` on.

    They lie in slot `slot`, from its element `start` on.
    """

    name: str
    begin: int
    count: int
    slot: int
    start: int


@dataclass(frozen=True)
class Layout:
    """How `ranks` processes share the parameters of `shapes`, by group, under ZeRO stage `zero`."""

    zero: int
    ranks: int
    shapes: Shapes

    def spans(self, rank: int, sizes: Sequence[int]) -> list[Span]:
        """Return what the process `rank` holds, whose slots are of `sizes` elements.

        Of stages 1 and 2, `sizes` are those of the first process.
        """
        if self.zero == 0:
            named = chain.from_iterable(group.items() for group in self.shapes)
            return [Span(name, 0, math.prod(s), n, 0) for n, (name, s) in enumerate(named)]
        if self.zero < 3:
            found = (self._cut(n, rank * size, size) for n, size in enumerate(sizes))
        else:
            found = (self._spread(n, rank) for n in range(len(self.shapes)))
        return [span for each in found for span in each if span.count > 0]

    def _cut(self, slot: int, first: int, size: int) -> Iterator[Span]:
        """Yield the spans of a group within its elements `first` to `first + size`."""
        position = 0
        for name, shape in self.shapes[slot].items():
            begin, end = max(position, first), min(position + math.prod(shape), first + size)
            yield Span(name, begin - position, end - begin, slot, begin - first)
            position += math.prod(shape)

    def _spread(self, slot: int, rank: int) -> Iterator[Span]:
        """Yield this process's part of each parameter of a group, the last one maybe smaller."""
        start = 0
        for name, shape in self.shapes[slot].items():
            elements = math.prod(shape)
            part = -(-elements // self.ranks)
            yield Span(name, part * rank, min(part, elements - part * rank), slot, start)
            start += part


def common(one: Span, other: Span) -> tuple[slice, slice] | None:
    """Return where the elements that both spans of a parameter hold lie in the slot of each."""
    begin = max(one.begin, other.begin)
    count = min(one.begin + one.count, other.begin + other.count) - begin
    if one.name != other.name or count <= 0:
        return None
    first, second = one.start + begin - one.begin, other.start + begin - other.begin
    return slice(first, first + count), slice(second, second + count)
