"""Random numbers that belong to an event and to the pass over the data, not to a process.

A number follows from the seed of the training, the epoch, the event's id, a purpose, and the index
of the point in its event: masks, noise and times are the same on any number of processes, in any
micro-batches, at any place in a batch, and after any resume. The generator is counter-based, so
nothing is stored: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC'11), in int64 arithmetic, which every device has.

A purpose is a name, such as "mpm.hidden": numbers of two purposes are independent, those of one are
the same at each call. Axes: B events · P points, packed · n components · N blocks of four words.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths

WORD = 0xFFFFFFFF
WORDS = 4  # of a block
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
STEPS = (0x9E3779B9, 0xBB67AE85)  # of the key, from one round to the next
BITS = 24  # of a uniform number: so it is exact in single precision

Per = Literal["point", "event"]
Words = tuple[Tensor, Tensor, Tensor, Tensor]


def uniform(
    batch: Batch, purpose: str, components: int | None = None, *, per: Per = "point"
) -> Tensor:
    """Return numbers float32 in [0, 1), (P) or (B), or with as many `components` (…, n) of each."""
    return _drawn(batch, purpose, components, per, _uniform)


def normal(
    batch: Batch, purpose: str, components: int | None = None, *, per: Per = "point"
) -> Tensor:
    """Return standard normal numbers float32, (P) or (B), or (…, n).

    Two of two words, none beyond 6.7 (Box, Muller, Ann. Math. Statist. 29 (1958) 610).
    """
    return _drawn(batch, purpose, components, per, _normal)


def bernoulli(
    batch: Batch,
    purpose: str,
    probability: float | Tensor,
    components: int | None = None,
    *,
    per: Per = "point",
) -> Tensor:
    """Return what is true with a `probability`, bool, (P) or (B), or (…, n)."""
    return uniform(batch, purpose, components, per=per) < probability


def integers(
    batch: Batch,
    purpose: str,
    below: int | Tensor,
    components: int | None = None,
    *,
    per: Per = "point",
) -> Tensor:
    """Return integers int64 from 0 up to, and without, `below`, at most 2^31; (P), (B) or (…, n).

    The high word of a product, so that one is more likely than another by `below` / 2^32 at most
    (Lemire, ACM Trans. Model. Comput. Simul. 29 (2019) 3, without its rejection).
    """
    return (_drawn(batch, purpose, components, per) * below) >> 32


def lots(batch: Batch, purpose: str) -> Tensor:
    """Return an integer of 63 bits for each point (P): those of the lowest are a random sample.

    Whatever the processes and micro-batches, it is the same points of the global batch.
    """
    first, second = _drawn(batch, purpose, 2, "point").unbind(1)
    return (first << 31) | (second >> 1)


def ranks(batch: Batch, purpose: str) -> Tensor:
    """Return the rank of each point (P) in its event: a random permutation of each.

    Any n points of lowest rank are n points drawn without repetition.
    """
    order = ((batch.event << 32) | _drawn(batch, purpose, None, "point")).argsort(stable=True)
    return torch.empty_like(order).index_copy(0, order, batch.index_in_event)


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> Words:
    """Return four words (N) of each counter, which is four words (N); all from 0 to 2^32 - 1.

    A product of two words may wrap to a negative int64; its halves are taken as bits, so they are
    those of the product.
    """
    first, second, third, fourth = counter
    for number in range(ROUNDS):
        keys = [(word + number * step) & WORD for word, step in zip(key, STEPS, strict=True)]
        one, two = first * MULTIPLIERS[0], third * MULTIPLIERS[1]
        first, third = _high(two, second, keys[0]), _high(one, fourth, keys[1])
        second, fourth = two.bitwise_and_(WORD), one.bitwise_and_(WORD)
    return first, second, third, fourth


def _high(product: Tensor, word: Tensor, key: int) -> Tensor:
    """Return the high half of a product, mixed with a word and a word of the key."""
    return (product >> 32).bitwise_xor_(word).bitwise_xor_(key).bitwise_and_(WORD)


@lru_cache(maxsize=1024)
def key_of(seed: int, purpose: str) -> tuple[int, int]:
    """Return the two words of the key of a seed and a purpose: the same on every machine."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def _same(words: Words) -> Words:
    return words


def _uniform(words: Words) -> Words:
    one, two, three, four = ((word >> (32 - BITS)).float() * 2.0**-BITS for word in words)
    return one, two, three, four


def _normal(words: Words) -> Words:
    radius = (-2 * ((torch.stack(words[::2]) + 1).float() * 2.0**-32).log()).sqrt()
    angle = torch.stack(words[1::2]).float() * (2 * math.pi * 2.0**-32)
    (one, three), (two, four) = radius * angle.cos(), radius * angle.sin()
    return one, two, three, four


@torch.no_grad()
def _drawn(
    batch: Batch,
    purpose: str,
    components: int | None,
    per: Per,
    made: Callable[[Words], Words] = _same,
) -> Tensor:
    """Return what is `made` of the words of each point or event; the words, unless it is given.

    The words of an event are one sequence, cut into as many `components` for each of its points.
    """
    count = components or 1
    blocks = _blocks(batch.lengths, count, per)
    words = philox(_counters(batch, blocks), key_of(batch.seed, purpose))
    values = torch.stack(made(words), 1).flatten()
    if per == "event":
        values = values.view(blocks.events, -1)[:, :count]
    elif count % WORDS:
        first = WORDS * blocks.offsets[:-1]
        start = batch.lengths.spread(first) + count * batch.index_in_event
        places = start.unsqueeze(1) + torch.arange(count, device=start.device)
        values = values.index_select(0, places.flatten())
    return values.reshape(-1) if components is None else values.reshape(-1, count)


def _blocks(lengths: Lengths, count: int, per: Per) -> Lengths:
    """Return how many blocks of words each event needs for `count` numbers per point or event."""
    if per == "event":
        return Lengths.equal(lengths.events, -(-count // WORDS), lengths.offsets.device)
    return lengths.of_events(
        -(-lengths.sizes * count // WORDS), lambda size: -(-size * count // WORDS)
    )


def _counters(batch: Batch, blocks: Lengths) -> list[Tensor]:
    """Return the counters of all `blocks` of each event, numbered from its first."""
    event_id = batch.event_id.long()
    epoch = torch.zeros_like(event_id) if batch.epoch is None else batch.epoch
    of_events = (epoch, event_id & WORD, (event_id >> 32) & WORD)
    return [blocks.index_in_event, *(blocks.spread(each) for each in of_events)]
