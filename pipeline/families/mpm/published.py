"""The names under which the authors' code keeps the weights of masked particle modelling.

github.com/rodem-hep/mpm, src/models/bert.py and mattstools, at c6ba855 (MIT).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pipeline.data.errors import BadInput
from pipeline.families.mpm.spec import MPM
from pipeline.nn.published import Entry, affine

SOURCE = "MPM, src/models/bert.py (https://github.com/rodem-hep/mpm)"
LICENCE = "MIT"

MONITOR = "cf_monitor."  # a classifier beside the model, which has no part in what it learns
COUNTS = "count_mask"  # a constant
CLASS_WEIGHTS = ("class_weights", "loss_fn.weight")


def weights_of(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file without its monitor, and without constants.

    Raises:
        BadInput: Its loss weighs classes differently, which ours does not.
    """
    for name in CLASS_WEIGHTS:
        if name in given and not torch.equal(given[name], torch.ones_like(given[name])):
            message = f"{name} is not 1 everywhere: losses that weigh classes are not known here."
            raise BadInput(message)
    left = (*CLASS_WEIGHTS, COUNTS)
    return {n: w for n, w in given.items() if n not in left and not n.startswith(MONITOR)}


def entries(model: MPM) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield from normaliser("backbone.normaliser", "node_norm")
    yield Entry("backbone.normaliser.frozen", "node_norm.frozen")
    yield Entry("mask", "masked_token", leading=1)
    yield from trunk("backbone.trunk", "encoder", model.layers)
    yield from dense("exit", "encoder.outp_embd")
    if model.positions == "inputs":
        yield Entry("places", "pos_encoding", leading=1)
    if model.positions == "second_encoder":
        yield Entry("second.places", "pos_encoding", leading=1)
        yield from encoder("second.encoder", "positional_encoder", model.second_layers)
    if model.task == "clusters":
        yield Entry("clusters.centres", "labeller.codes")
        yield Entry("clusters.initialised", "labeller.initialised")


def classifier(model: MPM) -> Iterator[Entry]:
    """Yield each weight of the backbone, by the names of a fine-tuning, and of its head."""
    for entry in entries(model):
        yield Entry(entry.ours, f"backbone.{entry.theirs}", leading=entry.leading)
    yield Entry("head.each.weight", "final.weight")
    yield from affine("head.classes", "lin_out")


def normaliser(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield what a normaliser has learnt."""
    yield Entry(f"{ours}.points", f"{theirs}.n")
    for name, published in (("mean", "means"), ("variance", "vars"), ("squares", "m2")):
        yield Entry(f"{ours}.{name}", f"{theirs}.{published}", leading=1)


def dense(ours: str, theirs: str, *, norm: bool = True) -> Iterator[Entry]:
    """Yield the weights of a dense network."""
    yield from affine(f"{ours}.up", f"{theirs}.input_block.block.0")
    if norm:
        yield from affine(f"{ours}.norm", f"{theirs}.input_block.block.2")
    yield from affine(f"{ours}.down", f"{theirs}.output_block.block.0")


def trunk(ours: str, theirs: str, layers: int) -> Iterator[Entry]:
    """Yield the weights of an encoder but for its output network."""
    yield from dense(f"{ours}.entry", f"{theirs}.node_embd")
    for number in range(layers):
        block, layer = f"{ours}.blocks.{number}", f"{theirs}.te.layers.{number}"
        yield from affine(f"{block}.attention.qkv", f"{layer}.self_attn.all_linear")
        yield from affine(f"{block}.attention.norm", f"{layer}.self_attn.layer_norm")
        yield from affine(f"{block}.attention.out", f"{layer}.self_attn.out_linear")
        yield from dense(f"{block}.dense", f"{layer}.dense")
        yield from affine(f"{block}.norms.0", f"{layer}.norm1")
        yield from affine(f"{block}.norms.1", f"{layer}.norm2")
    yield from affine(f"{ours}.norm", f"{theirs}.te.final_norm")


def encoder(ours: str, theirs: str, layers: int, *, norm: bool = True) -> Iterator[Entry]:
    """Yield the weights of an encoder, of whose output network `norm` says whether it has one."""
    yield from trunk(f"{ours}.trunk", theirs, layers)
    yield from dense(f"{ours}.exit", f"{theirs}.outp_embd", norm=norm)
