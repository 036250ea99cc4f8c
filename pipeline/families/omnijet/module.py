"""OmniJet-alpha's backbone and head over packed jets, and how jets are drawn from it.

arXiv:2403.05618, §3.2. Words are 0 (start), code + 1, and codes + 1 (stop). Axes: P constituents ·
B jets · T = P + B words of sequences that begin with start · W width · V vocabulary · S sequences
that grow together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.store import Store
from pipeline.families.omnijet.spec import START, TOKEN, OmniJet
from pipeline.families.tokenizer import FEATURES, MOST_CONSTITUENTS
from pipeline.nn.attention import single_query_attention
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden, HiddenOf
from pipeline.nn.lengths import Lengths
from pipeline.nn.transformer import Block, Style

Decode = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class NextWords:
    """Logits of the word after each word (T, V), the word that it is (T), and its jet (T).

    Where padding counts, `padding` (B, V) are the logits after each word that pads a jet, and
    `padded_to` the words of a padded jet.
    """

    logits: Tensor
    target: Tensor
    event: Tensor
    padding: Tensor | None = None
    padded_to: int = 0


class Backbone(nn.Module):
    """The pretrained part: embedding, and causal post-norm blocks."""

    def __init__(self, model: OmniJet) -> None:
        super().__init__()
        self.inputs = model.inputs
        width = model.width
        style = Style(
            width,
            model.heads,
            4 * width,
            norm="post",
            activation="relu",
            bias_qkv=False,
            dropout=model.dropout,
        )
        continuous = model.inputs == "continuous"
        if continuous:
            self.entry = nn.Linear(len(FEATURES), width)
        self.embedding = nn.Embedding(1 if continuous else model.vocabulary, width)
        self.blocks = nn.ModuleList(Block(style) for _ in range(model.layers))

    def forward(self, batch: Batch, *, padding: bool = False) -> Tensor:
        """Return the hidden states (T, W) of start and of each constituent, jet by jet.

        With `padding`, (T + B, W): then those of a word that pads each jet. It is embedded as start
        is, and attends to the words of the jet alone, so all that pad a jet are alike.
        """
        lengths = batch.lengths.longer(1)
        rows = torch.arange(batch.lengths.tokens, device=batch.offsets.device) + batch.event + 1
        words = torch.full((lengths.tokens,), START, device=rows.device)
        if self.inputs == "continuous":
            embedded = self.embedding(words)
            hidden = embedded.index_copy(0, rows, self.embedded(batch.points).to(embedded.dtype))
        else:
            hidden = self.embedding(words.index_copy(0, rows, batch.per_point[TOKEN] + 1))
        pads = self.start(lengths.events) if padding else None
        for block in self.blocks:
            assert isinstance(block, Block)
            if pads is not None:
                pads = behind(block, pads, hidden, lengths)
            hidden = block(hidden, lengths, causal=True)
        return hidden if pads is None else torch.cat([hidden, pads])

    def start(self, count: int) -> Tensor:
        """Return the vector of start (count, W), once for each of so many."""
        device = self.embedding.weight.device
        words: Tensor = self.embedding(torch.full((count,), START, device=device))
        return words

    def embedded(self, given: Tensor) -> Tensor:
        """Return (P, W) of the features (P, 3) or of the codes (P)."""
        if self.inputs == "continuous":
            features: Tensor = self.entry(given.to(self.entry.weight.dtype))
            return features
        words: Tensor = self.embedding(given + 1)
        return words


def behind(block: Block, x: Tensor, words: Tensor, lengths: Lengths) -> Tensor:
    """Return x (B, W), one for each jet, after a block in which it sees `words` (T, W) alone."""
    attention = block.attention
    q = attention.qkv(x).unflatten(-1, (3, attention.heads, -1))[:, 0]
    _, k, v = attention.qkv(words).unflatten(-1, (3, attention.heads, -1)).unbind(1)
    seen = single_query_attention(q, k, v, lengths)
    before, after = block.norms
    x = before(x + block.dropout(attention.out(seen.flatten(1))))
    padded: Tensor = after(x + block.dropout(block.feed_forward(x)))
    return padded


class NextTokenModel(nn.Module):
    """The backbone, and a head over the vocabulary."""

    def __init__(self, model: OmniJet) -> None:
        super().__init__()
        self.model = model
        self.backbone = Backbone(model)
        self.head = nn.Linear(model.width, model.vocabulary)

    def forward(self, batch: Batch) -> NextWords:
        """Return what comes after start and after each constituent; the last of it is stop."""
        counted, lengths = self.model.padding == "counted", batch.lengths.longer(1)
        logits, words = self.head(self.backbone(batch, padding=counted)), lengths.tokens
        rows = torch.arange(batch.lengths.tokens, device=logits.device) + batch.event
        target = torch.full((words,), self.model.codes + 1, device=logits.device)
        target = target.index_copy(0, rows, batch.per_point[TOKEN] + 1)
        if not counted:
            return NextWords(logits, target, lengths.event)
        padding = logits[words:]
        return NextWords(logits[:words], target, lengths.event, padding, self.model.padded_to)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator,
        *,
        temperature: float = 1.0,
        decode: Decode | None = None,
    ) -> list[Tensor]:
        """Return the codes of `count` jets, each drawn word by word until stop or 128 constituents.

        Start is never drawn, and stop not first: a jet has a constituent. With continuous inputs
        the model is given what `decode(codes, offsets)` makes of the last code in the jet so far.
        """
        device = self.head.weight.device
        codes = torch.zeros(count, 0, dtype=torch.int64, device=device)
        growing = torch.arange(count, device=device)
        cache = [Seen() for _ in self.backbone.blocks]
        finished: list[Tensor] = [codes[0]] * count if count else []
        entry = self.backbone.start(count)
        while len(growing):
            logits = self._step(entry, cache).float() / temperature
            word = self._draw(logits, generator, first=codes.shape[1] == 0)
            stops = word == self.model.codes + 1
            for row in stops.nonzero().flatten().tolist():
                finished[int(growing[row])] = codes[row]
            codes = torch.cat([codes, (word - 1).unsqueeze(1)], 1)[~stops]
            growing = growing[~stops]
            if codes.shape[1] == MOST_CONSTITUENTS:
                for row, each in zip(growing.tolist(), codes, strict=True):
                    finished[row] = each
                break
            for seen in cache:
                seen.keep(~stops)
            if len(growing):
                entry = self.backbone.embedded(self._last(codes, decode))
        return finished

    def _draw(self, logits: Tensor, generator: torch.Generator, *, first: bool) -> Tensor:
        """Return a word (S) drawn from each row of logits (S, V)."""
        logits[:, START] = -torch.inf
        if first:
            logits[:, -1] = -torch.inf
        return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)

    def _last(self, codes: Tensor, decode: Decode | None) -> Tensor:
        """Return what the model is given of the last of codes (S, L): it, or its features."""
        if self.model.inputs == "tokens":
            return codes[:, -1]
        assert decode is not None, "continuous inputs: give the tokenizer's decode"
        offsets = torch.arange(len(codes) + 1, device=codes.device) * codes.shape[1]
        return decode(codes.flatten(), offsets).unflatten(0, codes.shape)[:, -1]

    def _step(self, x: Tensor, cache: list["Seen"]) -> Tensor:
        """Return the logits (S, V) after one more word, embedded (S, W), of each sequence."""
        for block, seen in zip(self.backbone.blocks, cache, strict=True):
            assert isinstance(block, Block)
            before, after = block.norms
            x = before(x + seen.attend(block, x))
            x = after(x + block.feed_forward(x))
        logits: Tensor = self.head(x)
        return logits


class Seen:
    """Keys and values (S, H, L, D) that a block has made of the words so far."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def attend(self, block: Block, x: Tensor) -> Tensor:
        """Return (S, W): what the newest word, x (S, W), sees of all words, itself among them."""
        attention = block.attention
        q, k, v = attention.qkv(x).unflatten(-1, (3, attention.heads, 1, -1)).unbind(1)
        self.keys = k if self.keys is None else torch.cat([self.keys, k], 2)
        self.values = v if self.values is None else torch.cat([self.values, v], 2)
        y = functional.scaled_dot_product_attention(q, self.keys, self.values)
        out: Tensor = attention.out(y.flatten(1))
        return out

    def keep(self, rows: Tensor) -> None:
        """Keep the sequences where `rows` (S) is true."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]


def backbone(model: OmniJet, store: Store | None) -> tuple[nn.Module, HiddenOf]:
    """Return the backbone, and how a head is given the constituents, without start."""
    backbone = Backbone(model)

    def hidden_of(batch: Batch) -> Hidden:
        rows = batch.lengths.longer(1).offsets[batch.event] + 1 + batch.index_in_event
        return Hidden([backbone(batch)[rows]])

    return backbone, hidden_of


def build(model: OmniJet, store: Store | None) -> NextTokenModel:
    """Return the module; whoever reads a store checks its vocabulary against `reads`."""
    return NextTokenModel(model)
