"""The names under which the authors' code keeps the weights of ParticleNet.

weaver-core, weaver/nn/model/ParticleNet.py at 154db69 (MIT). The files of jet-universe's
particle_transformer/models have the prefix "mod." before each name. Convolutions of size 1 are
linear layers here.
"""

import itertools
from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.jet_columns import CHOICES
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn.published import Entry, norm

SOURCE = "weaver-core, weaver/nn/model/ParticleNet.py (https://github.com/hqucms/weaver-core)"
LICENCE = "MIT"
PREFIX = "mod."


def declared(weights: Mapping[str, Tensor]) -> ParticleNet:
    """Return the model that the shapes of the authors' weights are of.

    They do not say how many neighbours a particle has: 16, as published.

    Raises:
        BadInput: They are of no such model.
    """
    choices = {len(columns): choice for choice, columns in CHOICES.items()}
    try:
        inner, classes = (len(weights[f"{name}.bias"]) for name in ("fc.0.0", "fc.1"))
        inputs = choices[len(weights["bn_fts.weight"])]
        blocks = _count(weights, "edge_convs.{}.sc.weight")
        widths = tuple(len(weights[f"edge_convs.{block}.sc.weight"]) for block in range(blocks))
        convolutions = _count(weights, "edge_convs.0.convs.{}.weight")
        given = {"inputs": inputs, "widths": widths, "convolutions": convolutions}
        return ParticleNet.model_validate({**given, "inner": inner, "classes": classes})
    except (KeyError, ValidationError) as error:
        message = "not the weights of a ParticleNet on 17, 13 or 7 inputs; see: cosmotron models"
        raise BadInput(message) from error


def _count(weights: Mapping[str, Tensor], name: str) -> int:
    """Return how many of the weights are called `name` with a number from 0 on in it."""
    return next(number for number in itertools.count() if name.format(number) not in weights)


def entries(model: ParticleNet) -> Iterator[Entry]:
    """Yield each weight of the classifier by our name and by the authors'."""
    yield from norm("backbone.norm_inputs", "bn_fts")
    for block in range(model.layers):
        ours, theirs = f"backbone.layers.{block}", f"edge_convs.{block}"
        for layer in range(model.convolutions):
            name = f"further.{layer - 1}" if layer else "first"
            yield Entry(f"{ours}.{name}.weight", f"{theirs}.convs.{layer}.weight", kernel=2)
            yield from norm(f"{ours}.norms.{layer}", f"{theirs}.bns.{layer}")
        yield Entry(f"{ours}.shortcut.weight", f"{theirs}.sc.weight", kernel=1)
        yield from norm(f"{ours}.norm_shortcut", f"{theirs}.sc_bn")
    for ours, theirs in (("backbone.inner", "fc.0.0"), ("classes", "fc.1")):
        yield Entry(f"{ours}.weight", f"{theirs}.weight")
        yield Entry(f"{ours}.bias", f"{theirs}.bias")
