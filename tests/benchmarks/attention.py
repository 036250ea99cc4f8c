"""Attention over events of many lengths: the way that we go on a CPU against the others.

Forward and backward, of q, k, v that lie packed in one tensor (P, 3, H, D) as a layer makes them.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.data.simulation import ice
from pipeline.nn.attention import attend, ragged
from pipeline.nn.lengths import Lengths
from tests.benchmarks import samples
from tests.benchmarks.contest import Contest

HEADS, CHANNELS = 8, 32  # OmniJet-alpha's (arXiv 2403.05618)
PULSES = 128  # PolarBERT keeps 127 of an event and adds a class token
PATCHES, PATCH_HEADS, PATCH_CHANNELS = 64, 4, 49  # PointGPT's patches at width 196
SPARE = 10_000  # scores that may be computed for nothing to save a call
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]


def contests(*, jets: int, events: int) -> Iterator[Contest]:
    """Yield a contest for each kind of event, precision and direction."""
    kinds = lengths_of(jets=jets, events=events)
    for dtype in (torch.float32, torch.bfloat16):
        for what, sizes in kinds.items():
            for causal in (False, True):
                yield contest(what, sizes, dtype=dtype, causal=causal)


def lengths_of(*, jets: int, events: int) -> dict[str, list[int]]:
    """Return how many tokens the events of a batch have, by the kind of event."""
    particles = samples.jets(jets).sizes.tolist()
    return {
        "jets": particles,
        "jets, sorted": sorted(particles),
        "IceCube": ice.make(jets, seed=1, source="benchmark").sizes.clip(3, PULSES).tolist(),
        "patches": [PATCHES] * -(-jets // 8),
        "TPC": samples.events(events).sizes.tolist(),
    }


def contest(what: str, sizes: list[int], *, dtype: torch.dtype, causal: bool) -> Contest:
    """Return the contest on events of `sizes`; jagged attention on a CPU knows no causal mask."""
    torch.manual_seed(1)
    shape = (PATCH_HEADS, PATCH_CHANNELS) if what == "patches" else (HEADS, CHANNELS)
    packed = torch.randn(sum(sizes), 3, *shape).to(dtype).requires_grad_()
    upstream = torch.randn(sum(sizes), *shape).to(dtype)
    ways = others(sizes)
    if causal:
        del ways["jagged tensors"]
    return Contest(
        what=f"attention, {'causal' if causal else 'full'}, {str(dtype)[6:]}, {what}",
        amount=sum(sizes),
        unit="tokens",
        ours=lambda: ours(packed, sizes, causal=causal).backward(upstream),
        others={
            name: lambda way=way: way(packed, causal).backward(upstream)
            for name, way in ways.items()
        },
    )


def ours(packed: Tensor, sizes: list[int], *, causal: bool) -> Tensor:
    """Return `attend` of packed q, k, v (P, 3, H, D)."""
    return attend(*packed.unbind(1), Lengths.of(_offsets(sizes)), causal=causal)


def others(sizes: list[int]) -> dict[str, Callable[[Tensor, bool], Tensor]]:
    """Return the other ways for events of `sizes`: of packed q, k, v and whether it is causal."""
    offsets = _offsets(sizes)
    lengths = Lengths.of(offsets)
    one, equal = Groups(sizes, spare=float("inf")), Groups(sizes, spare=0)
    similar = Groups(sizes, spare=SPARE)
    return {
        "event by event": lambda x, causal: event_by_event(x, sizes, causal=causal),
        "equal lengths gathered": lambda x, causal: equal(x, fused, causal=causal),
        "similar lengths gathered": lambda x, causal: similar(x, fused, causal=causal),
        "similar, matmul and softmax": lambda x, causal: similar(x, explicit, causal=causal),
        "padded to the longest": lambda x, causal: one(x, fused, causal=causal),
        "jagged tensors": lambda x, causal: ragged(*x.unbind(1), lengths, causal=causal),
    }


def event_by_event(packed: Tensor, sizes: list[int], *, causal: bool) -> Tensor:
    """Return the attention of each event in a call of its own."""
    parts = (part.permute(1, 2, 0, 3).unsqueeze(1) for part in packed.split(sizes))
    return torch.cat([fused(*qkv, None, causal)[0].transpose(0, 1) for qkv in parts])


class Groups:
    """Events of similar length gathered in groups, each padded to its longest.

    A group takes the next shorter event as long as it then computes at most `spare` more scores
    than its events have.
    """

    def __init__(self, sizes: list[int], *, spare: float) -> None:
        length, offsets = torch.tensor(sizes), _offsets(sizes)
        self.back = torch.empty(sum(sizes), dtype=torch.int64)
        self.shapes, self.real, there = [], [], []
        padded = 0
        for group in _groups(sizes, spare):
            events = torch.tensor(group)
            longest = int(length[events].max())
            place = torch.arange(longest)
            real = place < length[events, None]
            index = offsets[events, None] + place.minimum(length[events, None] - 1)
            self.back[index[real]] = padded + torch.arange(index.numel())[real.flatten()]
            self.shapes.append((len(group), longest))
            self.real.append(None if real.all() else real[:, None, None])
            there.append(index.flatten())
            padded += index.numel()
        self.there = torch.cat(there)

    def __call__(self, packed: Tensor, kernel: Kernel, *, causal: bool) -> Tensor:
        """Return the attention by `kernel`; under a causal mask no token sees the padding."""
        outputs = []
        gathered = packed[self.there].split([count * length for count, length in self.shapes])
        for part, shape, real in zip(gathered, self.shapes, self.real, strict=True):
            qkv = part.unflatten(0, shape).permute(2, 0, 3, 1, 4)
            y = kernel(*qkv, None if causal else real, causal)
            outputs.append(y.transpose(1, 2).flatten(0, 1))
        return torch.cat(outputs)[self.back]


def fused(q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, causal: bool) -> Tensor:
    """Return PyTorch's attention over dense events (N, H, L, D)."""
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=real, is_causal=causal)


def explicit(q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, causal: bool) -> Tensor:
    """Return the same by matrix products and a softmax, which keeps all scores."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if real is not None:
        scores = scores.masked_fill(~real, -torch.inf)
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(-1) @ v


def _groups(sizes: list[int], spare: float) -> Iterator[list[int]]:
    """Yield the events of each group, from the longest."""
    group: list[int] = []
    wasted = 0
    for event in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
        wasted += sizes[group[0]] ** 2 - sizes[event] ** 2 if group else 0
        if wasted > spare:
            yield group
            group, wasted = [], 0
        group.append(event)
    yield group


def _offsets(sizes: list[int]) -> Tensor:
    return torch.tensor([0, *sizes]).cumsum(0)
