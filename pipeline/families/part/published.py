"""The names under which the authors' code keeps the weights of Particle Transformer.

weaver-core, weaver/nn/model/ParticleTransformer.py at 154db69 (MIT). The files of jet-universe's
particle_transformer and sophon have the prefix "mod." before each name.
Convolutions of size 1 over pairs are linear layers here.
"""

import itertools
from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.jet_columns import CHOICES
from pipeline.families.part.spec import ParT
from pipeline.nn.published import Entry, affine, norm

SOURCE = (
    "weaver-core, weaver/nn/model/ParticleTransformer.py (https://github.com/hqucms/weaver-core)"
)
LICENCE = "MIT"
PREFIX = "mod."
COUNTER = "trimmer._counter"  # of the loader's steps, which nothing here reads


def weights_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` by the names of 154db69; files of 2022 have in_proj_weight and in_proj_bias.

    The counter of the sequence trimmer is left out.
    """
    return {
        name.replace(".in_proj_", ".in_proj."): weight
        for name, weight in weights.items()
        if not name.endswith(COUNTER)
    }


def declared(weights: Mapping[str, Tensor]) -> ParT:
    """Return the model that the shapes of the authors' weights are of.

    They do not say whether a GELU is behind the pair network: there is one, as for JetClass.

    Raises:
        BadInput: They are of no such model.
    """
    choices = {len(columns): choice for choice, columns in CHOICES.items()}
    pairs = _widths(weights, "pair_embed.embed.{}.weight", 1)
    hidden = _count(weights, "fc.{}.0.weight")
    given = {} if pairs else {"interaction": ""}
    try:
        *embedding, width = _widths(weights, "embed.embed.{}.weight", 1)
        return ParT.model_validate(
            {
                "inputs": choices[len(weights["embed.input_bn.weight"])],
                "embedding": embedding,
                "width": width,
                "layers": _count(weights, "blocks.{}.c_attn"),
                "class_layers": _count(weights, "cls_blocks.{}.c_attn"),
                "heads": len(weights["blocks.0.c_attn"]),
                "pair_widths": pairs[:-1],
                "class_widths": [len(weights[f"fc.{n}.0.weight"]) for n in range(hidden)],
                "classes": len(weights[f"fc.{hidden}.bias"]),
                **given,
            }
        )
    except (KeyError, ValueError, ValidationError) as error:
        message = "not the weights of a ParT on 17, 13 or 7 inputs; see: cosmotron models"
        raise BadInput(message) from error


def _count(weights: Mapping[str, Tensor], name: str) -> int:
    """Return how many of the weights are called `name` with a number from 0 on in it."""
    return next(number for number in itertools.count() if name.format(number) not in weights)


def _widths(weights: Mapping[str, Tensor], name: str, first: int) -> list[int]:
    """Return the outputs of the linear layers at places `first`, `first` + 3, … of a sequence."""
    places = itertools.takewhile(
        lambda place: name.format(place) in weights, itertools.count(first, 3)
    )
    return [len(weights[name.format(place)]) for place in places]


def entries(model: ParT) -> Iterator[Entry]:
    """Yield each weight of the classifier by our name and by the authors'."""
    yield from norm("backbone.norm_inputs", "embed.input_bn")
    for layer in range(len(model.embedding) + 1):
        for place in (3 * layer, 3 * layer + 1):
            yield from affine(f"backbone.embedding.{place}", f"embed.embed.{place}")
    if model.interaction:
        yield from _pairs(len(model.pair_widths) + 1)
    yield Entry("backbone.token", "cls_token", leading=2)
    for kind, theirs, count in (
        ("blocks", "blocks", model.layers),
        ("class_blocks", "cls_blocks", model.class_layers),
    ):
        for number in range(count):
            yield from _block(f"backbone.{kind}.{number}", f"{theirs}.{number}")
    yield from affine("backbone.norm", "norm")
    for number in range(len(model.class_widths)):
        yield from affine(f"hidden.{number}.0", f"fc.{number}.0")
    yield from affine("classes", f"fc.{len(model.class_widths)}")


def _pairs(layers: int) -> Iterator[Entry]:
    """Yield what makes the biases: a norm, then linear layer, norm and activation each."""
    ours, theirs = "backbone.pairs.net", "pair_embed.embed"
    yield from norm(f"{ours}.0", f"{theirs}.0")
    for layer in range(layers):
        linear, behind = 3 * layer + 1, 3 * layer + 2
        yield from _convolution(f"{ours}.{linear}", f"{theirs}.{linear}")
        yield from norm(f"{ours}.{behind}", f"{theirs}.{behind}")


def _convolution(ours: str, theirs: str) -> Iterator[Entry]:
    yield Entry(f"{ours}.weight", f"{theirs}.weight", kernel=1)
    yield Entry(f"{ours}.bias", f"{theirs}.bias")


def _block(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield what both kinds of blocks hold."""
    yield Entry(f"{ours}.attention.scale", f"{theirs}.c_attn")
    yield Entry(f"{ours}.past", f"{theirs}.w_resid")
    for mine, name in (
        ("before", "pre_attn_norm"),
        ("attention.qkv", "attn.in_proj"),
        ("attention.out", "attn.out_proj"),
        ("behind", "post_attn_norm"),
        ("norm", "pre_fc_norm"),
        ("up", "fc1"),
        ("norm_inside", "post_fc_norm"),
        ("down", "fc2"),
    ):
        yield from affine(f"{ours}.{mine}", f"{theirs}.{name}")
