"""The names under which the authors' code keeps the weights of OmniLearned's PET v2.

ViniciusMikuni/OmniLearned, src/omnilearned/network.py and layers.py at 922355d; its pyproject.toml
names the MIT licence. A norm's γ is called its weight there.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.jet_columns import IMPACT
from pipeline.families.omnilearned.spec import Mode, OmniLearned
from pipeline.nn.published import Entry, affine

SOURCE = "OmniLearned, src/omnilearned (https://github.com/ViniciusMikuni/OmniLearned)"
LICENCE = "MIT"
CHANNELS = {8: 128, 16: 512, 32: 1024}  # heads and widths of the published sizes


def declared(weights: Mapping[str, Tensor]) -> OmniLearned:
    """Return the model that the shapes of the authors' weights are of.

    They do not say how many neighbours a point has, nor in how many heads: 10, and as many as the
    published size of this width has, or else heads of 16 channels.

    Raises:
        BadInput: They are of no such model, or of columns that have no name here.
    """
    try:
        return OmniLearned.model_validate(_fields(weights))
    except (KeyError, ValidationError) as error:
        message = "not the weights of OmniLearned's PET v2; give --size or --model"
        raise BadInput(message) from error


def _fields(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of the model, but for those that have no bearing on shapes."""
    mode, width = _mode(weights), weights["body.token"].shape[2]
    pairs = "body.interaction.mlp.fc1.weight" in weights
    heads = len(weights["body.interaction.mlp.fc2.bias"]) if pairs else _heads(width)
    fields: dict[str, Any] = {
        "mode": mode,
        "width": width,
        "tokens": weights["body.token"].shape[1],
        "layers": _count(weights, "body.in_blocks.{}.norm1.alpha"),
        "head_layers": _count(weights, "body.local_physics.in_blocks.{}.norm1.alpha"),
        "heads": heads,
        "interaction": "pet" if pairs else "",
        "classes": _classes(weights),
        "ratio": len(weights["body.embed.mlp.fc1.bias"]) // width,
    }
    if mode == "ftag":
        fields["point_classes"] = len(weights["generator.out.bias"])
    if "body.pid_embed.0.weight" in weights:
        fields["kinds"] = len(weights["body.pid_embed.0.weight"])
    if "body.add_embed.0.fc1.weight" in weights:
        number = weights["body.add_embed.0.fc1.weight"].shape[1]
        fields["additional"] = IMPACT if number == len(IMPACT) else _columns("features", number)
    if "body.cond_embed.0.fc1.weight" in weights:
        number = weights["body.cond_embed.0.fc1.weight"].shape[1]
        fields["conditions"] = (*_columns("globals", number)[:-1], "multiplicity")
    return fields


def _mode(weights: Mapping[str, Tensor]) -> Mode:
    """Return the mode, by the parts that there are."""
    if "classifier.out.weight" not in weights:
        return "generator"
    if "generator.out.weight" not in weights:
        return "classifier"
    return "pretrain" if "body.time_embed.fc1.weight" in weights else "ftag"


def _classes(weights: Mapping[str, Tensor]) -> int:
    for name in ("classifier.out.bias", "generator.pid_embed.0.weight"):
        if name in weights:
            return len(weights[name])
    return 1


def _heads(width: int) -> int:
    known = {wide: heads for heads, wide in CHANNELS.items()}
    return known.get(width, max(1, width // 16))


def _columns(array: str, number: int) -> tuple[str, ...]:
    return tuple(f"{array}.{column}" for column in range(number))


def _count(weights: Mapping[str, Tensor], name: str) -> int:
    """Return how many of the weights are called `name` with a number from 0 on in it."""
    return next(number for number in itertools.count() if name.format(number) not in weights)


def entries(model: OmniLearned) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield from _body(model)
    if model.mode != "generator":
        yield from _classifier(model)
    if model.mode != "classifier":
        yield from _generator(model)


def _body(model: OmniLearned) -> Iterator[Entry]:
    yield Entry("backbone.tokens", "body.token", leading=1)
    yield from _norm("backbone.input_norm", "body.embed.norm")
    yield from _perceptron("backbone.entry", "body.embed.mlp")
    if model.pairs is not None:
        yield from _perceptron("backbone.pair_bias.net", "body.interaction.mlp", norm=False)
    yield from _perceptron("backbone.local.entry", "body.local_physics.mlp")
    yield from _blocks("backbone.local", "body.local_physics", model.head_layers)
    if model.conditions:
        yield from _perceptron("backbone.conditions", "body.cond_embed.0")
    if model.noisy:
        for ours, theirs in (("frequencies", "freqs"), ("phases", "phases")):
            yield Entry(f"backbone.fourier.{ours}", f"body.MPFourier.{theirs}")
        yield from _perceptron("backbone.time", "body.time_embed", bias=False)
    if model.additional:
        yield from _perceptron("backbone.additional", "body.add_embed.0", bias=False)
    if model.kinds:
        yield Entry("backbone.kinds.weight", "body.pid_embed.0.weight")
    yield from _blocks("backbone", "body", model.layers)
    yield from _norm("backbone.norm", "body.norm")


def _classifier(model: OmniLearned) -> Iterator[Entry]:
    for number in range(model.head_layers):
        ours, theirs = f"backbone.summary.blocks.{number}", f"classifier.in_blocks.{number}"
        yield from _norm(f"{ours}.norm", f"{theirs}.norm")
        yield from _attention_and_more(ours, theirs)
    yield from _perceptron("backbone.summary.together", "classifier.fc")
    yield from affine("classes", "classifier.out")


def _generator(model: OmniLearned) -> Iterator[Entry]:
    if model.labelled:
        yield Entry("generator.label.weight", "generator.pid_embed.0.weight")
        yield from _perceptron("generator.of_label", "generator.pid_embed.1", norm=False)
    yield from _blocks("generator", "generator", model.head_layers)
    yield from _perceptron("generator.together", "generator.fc.0", norm=False)
    yield from affine("generator.last", "generator.out")


def _blocks(ours: str, theirs: str, number: int) -> Iterator[Entry]:
    for each in range(number):
        mine, other = f"{ours}.blocks.{each}", f"{theirs}.in_blocks.{each}"
        for place in range(2):
            yield from _norm(f"{mine}.norms.{place}", f"{other}.norm{place + 1}")
        yield from _attention_and_more(mine, other)


def _attention_and_more(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield attention and feed-forward of a block."""
    yield Entry(f"{ours}.attention.qkv.weight", f"{theirs}.attn.in_proj_weight")
    yield Entry(f"{ours}.attention.out.weight", f"{theirs}.attn.out_proj.weight")
    yield from _perceptron(f"{ours}.feed_forward", f"{theirs}.mlp")


def _perceptron(ours: str, theirs: str, *, norm: bool = True, bias: bool = True) -> Iterator[Entry]:
    yield from affine(f"{ours}.up", f"{theirs}.fc1", bias=bias)
    yield from affine(f"{ours}.down", f"{theirs}.fc2", bias=bias)
    if norm:
        yield from _norm(f"{ours}.norm", f"{theirs}.norm")


def _norm(ours: str, theirs: str) -> Iterator[Entry]:
    yield Entry(f"{ours}.alpha", f"{theirs}.alpha")
    yield Entry(f"{ours}.gamma", f"{theirs}.weight")
