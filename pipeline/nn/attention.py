"""Attention among the tokens of each event, over events packed end to end.

Axes: P tokens of all events of a batch, packed · B events · N events of a run · L tokens of an
event · H heads · D channels of a head.

For every event by itself (Vaswani et al., arXiv 1706.03762, eq. 1),

    y_i = Σ_j softmax_j(q_i · k_j / √D + b_ij) v_j

where a bias b is given. Nothing is padded: not the batch on a GPU, where a kernel takes the
offsets, and not the runs of equally long events on a CPU, where each run is one call on views of
the packed tokens. But for a bias on a GPU, which the kernel for ragged batches cannot take: there
a call for each run costs more than the padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.lengths import Lengths

ALIGNMENT = 8  # fused kernels on GPUs take heads of a multiple of this many channels


@dataclass(frozen=True)
class Bias:
    """What is added to the scores of each pair, (query, key); `Pairs.bias` makes it.

    runs: (N, H, L, L) for each run of the lengths; or, where a device is better off with one call,
    padded: (B, H, L, L) of all events, -∞ where a key is none.
    """

    runs: tuple[Tensor, ...] = ()
    padded: Tensor | None = None


def attend(
    q_PHD: Tensor,
    k_PHD: Tensor,
    v_PHD: Tensor,
    lengths: Lengths,
    *,
    causal: bool = False,
    hidden_P: Tensor | None = None,
    bias: Bias | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return y (P, H, D): what each token sees in its own event.

    Events of several lengths on a GPU go to a kernel for ragged batches. What that cannot take
    (keys hidden one by one), and all on a CPU, goes run by run; a padded bias in one padded call.

    Args:
        causal: Whether a token sees only itself and what stands before it in its event.
        hidden_P: Tokens, bool, that no other token sees; each still sees itself.
        bias: Added to the scores.
        dropout: The rate at which weights, after the softmax, are dropped; the rest is scaled up.

    Raises:
        ValueError: If `lengths` are of another number of tokens.
    """
    if q_PHD.shape[0] != lengths.tokens:
        message = (
            f"{len(q_PHD)} tokens, but lengths of {lengths.tokens}: make Lengths from the offsets"
            " of what is packed, with start and class tokens."
        )
        raise ValueError(message)
    if bias is not None and bias.padded is not None:
        return padded(
            q_PHD,
            k_PHD,
            v_PHD,
            lengths,
            bias.padded,
            causal=causal,
            hidden_P=hidden_P,
            dropout=dropout,
        )
    if q_PHD.is_cuda and hidden_P is None and bias is None and len(lengths.runs) > 1:
        return ragged(q_PHD, k_PHD, v_PHD, lengths, causal=causal, dropout=dropout)
    return by_runs(
        q_PHD,
        k_PHD,
        v_PHD,
        lengths,
        causal=causal,
        hidden_P=hidden_P,
        bias=() if bias is None else bias.runs,
        dropout=dropout,
    )


def ragged(
    q_PHD: Tensor,
    k_PHD: Tensor,
    v_PHD: Tensor,
    lengths: Lengths,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Tensor:
    """Return `attend` by one call of PyTorch's attention on jagged tensors.

    On CUDA and ROCm that is FlashAttention in half precision, memory-efficient attention in single.
    """
    channels = q_PHD.shape[-1]
    missing = -channels % ALIGNMENT
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            functional.pad(x, (0, missing)).contiguous(),
            offsets=lengths.offsets,
            min_seqlen=lengths.shortest,
            max_seqlen=lengths.longest,
        ).transpose(1, 2)
        for x in (q_PHD, k_PHD, v_PHD)
    )
    y = functional.scaled_dot_product_attention(
        q, k, v, dropout_p=dropout, is_causal=causal, scale=channels**-0.5
    )
    return y.transpose(1, 2).values()[..., :channels]


def by_runs(
    q_PHD: Tensor,
    k_PHD: Tensor,
    v_PHD: Tensor,
    lengths: Lengths,
    *,
    causal: bool = False,
    hidden_P: Tensor | None = None,
    bias: Sequence[Tensor] = (),
    dropout: float = 0.0,
) -> Tensor:
    """Return `attend` by one call of PyTorch's dense attention for each run of `lengths`.

    bias: (N, H, L, L) of each run, or none at all.
    """
    dtype = q_PHD.dtype
    if q_PHD.device.type == "cpu" and dtype.itemsize < 4:
        # Fused attention on CPUs is up to three times slower in half precision than in single.
        q_PHD, k_PHD, v_PHD = q_PHD.float(), k_PHD.float(), v_PHD.float()
    sizes = [events * length for events, length in lengths.runs]
    hidden = repeat(None) if hidden_P is None else hidden_P.split(sizes)
    parts = zip(*(x_PHD.split(sizes) for x_PHD in (q_PHD, k_PHD, v_PHD)), strict=True)
    outputs = []
    for run, part, hide, b in zip(lengths.runs, parts, hidden, bias or repeat(None), strict=False):
        q, k, v = (x.unflatten(0, run).transpose(1, 2) for x in part)
        seen = None if hide is None else _seen(hide.view(run), causal=causal)
        if b is not None:
            seen = _biased(b.to(q.dtype), seen, causal=causal)
        y = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=seen, dropout_p=dropout, is_causal=causal and seen is None
        )
        outputs.append(y.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).to(dtype)


def padded(
    q_PHD: Tensor,
    k_PHD: Tensor,
    v_PHD: Tensor,
    lengths: Lengths,
    bias_BHLL: Tensor,
    *,
    causal: bool = False,
    hidden_P: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Return `attend` by one call of PyTorch's dense attention on events padded to the longest.

    bias_BHLL: is -∞ where a key is padding, so that no token sees it.
    """
    q, k, v = (lengths.filled(x).transpose(1, 2) for x in (q_PHD, k_PHD, v_PHD))
    seen = None if hidden_P is None else _seen(lengths.filled(hidden_P), causal=causal)
    mask = _biased(bias_BHLL.to(q.dtype), seen, causal=causal)
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return y.transpose(1, 2).flatten(0, 1)[lengths.padded]


def _biased(bias: Tensor, seen: Tensor | None, *, causal: bool) -> Tensor:
    """Return the bias (N, H, L, L), -∞ where a key is not seen."""
    if seen is not None:
        return bias.masked_fill(~seen, -torch.inf)
    if causal:
        later = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).triu(1)
        return bias.masked_fill(later, -torch.inf)
    return bias


def _seen(hidden_NL: Tensor, *, causal: bool) -> Tensor:
    """Return which keys each query sees (N, 1, L, L): itself, and what is not hidden."""
    length = hidden_NL.shape[1]
    itself = torch.eye(length, dtype=torch.bool, device=hidden_NL.device)
    seen = ~hidden_NL[:, None, :] | itself
    return (seen.tril() if causal else seen).unsqueeze(1)


def single_query_attention(q_BHD: Tensor, k_PHD: Tensor, v_PHD: Tensor, lengths: Lengths) -> Tensor:
    """Return (B, H, D): what one query of each event sees of the tokens of its event.

    By a softmax over segments, in single precision or better; nothing is padded anywhere.
    """
    event = lengths.event
    scores = (q_BHD[event] * k_PHD).sum(-1) * q_BHD.shape[-1] ** -0.5
    if scores.dtype.itemsize < 4:
        scores = scores.float()
    index = event.unsqueeze(1).expand_as(scores)
    highest = scores.new_zeros(lengths.events, scores.shape[1])
    highest = highest.scatter_reduce(0, index, scores.detach(), "amax", include_self=False)
    grown = (scores - highest[event]).exp()
    total = torch.zeros_like(highest).index_add(0, event, grown)
    shares = (grown / total[event]).to(v_PHD.dtype).unsqueeze(-1)
    return torch.zeros_like(q_BHD).index_add(0, event, shares * v_PHD)
