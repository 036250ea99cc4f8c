"""Particle Transformer held to the authors' own: stages, logits, losses, gradients, statistics.

Their float32 arrays hold the rounding of pair masses (m² of almost collinear particles is a small
difference), ours are computed in double; so ours are held to their float64 arrays, and their
float32 logits and losses to the noise that `case.json` gives.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.interactions import interaction_of
from pipeline.families.jet_columns import CHOICES
from pipeline.families.part import published as names
from pipeline.families.part.module import build
from pipeline.families.part.spec import ParT
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.interactions import features
from pipeline.nn.lengths import Lengths
from pipeline.nn.pairs import Pairs
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

SYSTEM = "ParticleTransformer"
INPUTS = {len(columns): choice for choice, columns in CHOICES.items()}
MOMENTUM = 4
MASS = 3  # where ln m² stands among the features of pairs


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class", "")).startswith(SYSTEM)


def model_of(case: Case) -> ParT:
    """Return the declaration of the published settings; dropout is off in all arrays."""
    given = case.configuration
    *embedding, width = given["embed_dims"]
    return ParT(
        inputs=INPUTS[given["input_dim"]],
        embedding=embedding,
        width=width,
        layers=given["num_layers"],
        class_layers=given["num_cls_layers"],
        heads=given["num_heads"],
        pair_widths=given["pair_embed_dims"],
        bias_activation=not case.about["use_pre_activation_pair"],
        class_widths=[channels for channels, _ in given.get("fc_params") or ()],
        classes=given["num_classes"],
        padding=given["padded_length"],
        dropout=0,
    )


def module_of(case: Case) -> nn.Module:
    """Return our module with the published weights."""
    model = model_of(case)
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    given = names.weights_of(case.weights)
    weights = published.imported(
        given, names.entries(model), shapes, prefix=names.PREFIX, source=str(case.path)
    )
    module.load_state_dict(weights)
    return module


class Jets:
    """The jets of a case, packed; arrays (B, F, L) are real where the mask (B, 1, L) is 1."""

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self.real = arrays["in_pf_mask"][:, 0] > 0
        offsets = np.concatenate([[0], np.cumsum(self.real.sum(1))]).astype(np.int64)
        points = [self.packed(arrays[name]) for name in ("in_pf_features", "in_pf_vectors")]
        self.batch = Batch(
            torch.from_numpy(np.concatenate(points, 1).astype(np.float32)),
            torch.from_numpy(offsets),
            torch.arange(len(offsets) - 1),
        )
        self.label = torch.from_numpy(arrays["in_label"].astype(np.int64))

    def packed(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the columns (P, F) of the real particles."""
        packed: NDArray[np.generic] = np.moveaxis(values, 1, 2)[self.real]
        return packed

    def padded(self, values: Tensor) -> NDArray[np.float64]:
        """Return values of particles (P, W) as (B, L, W), 0 where there is none."""
        shape = (*self.real.shape, values.shape[1])
        padded = np.zeros(shape)
        padded[self.real] = values.detach().double().numpy()
        return padded

    def padded_pairs(self, runs: tuple[Tensor, ...]) -> NDArray[np.float64]:
        """Return values of pairs, (N, K, L', L') a run, as (B, K, L, L), 0 where there is none."""
        jets, length = self.real.shape
        padded = np.zeros((jets, runs[0].shape[1], length, length))
        first = 0
        for run in runs:
            count, size = run.shape[0], run.shape[-1]
            padded[first : first + count, :, :size, :size] = run.detach().double().numpy()
            first += count
        return padded


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    yield from _evaluated(case)
    yield from _trained(case)


def stages(module: nn.Module, jets: Jets) -> dict[str, NDArray[np.float64]]:
    """Return what the module makes of the jets, stage by stage, by the names of the arrays."""
    backbone, batch = module.backbone, jets.batch
    x = backbone.embedding(backbone.norm_inputs(batch.points[:, : backbone.inputs]))
    lengths = Lengths.of(batch.offsets)
    bias = backbone.pairs(batch.points, lengths)
    found = {"embedded": jets.padded(x), "pair_bias": jets.padded_pairs(bias.runs)}
    for number, block in enumerate(backbone.blocks):
        x = block(x, lengths, bias)
        found[f"block{number}"] = jets.padded(x)
    token = backbone.token.expand(len(batch.sizes), -1)
    for number, block in enumerate(backbone.class_blocks):
        token = block.attend_token(token, x, batch)
        found[f"class_block{number}"] = token.detach().double().numpy()[:, None]
    found["class_token"] = backbone.norm(token).detach().double().numpy()
    return found


def pair_features(jets: Jets, model: ParT) -> NDArray[np.float64]:
    """Return the features (B, 4, L, L) of the pairs of the jets, 0 where there is none."""
    interaction = interaction_of(model.interaction)
    assert interaction is not None
    pairs = Pairs(Lengths.of(jets.batch.offsets))
    found = features(interaction, jets.batch.points[:, -MOMENTUM:], pairs)
    return jets.padded_pairs(pairs.bias(found[pairs.mirrored]).runs)


def _evaluated(case: Case) -> Iterator[Row]:
    """Yield the arrays of evaluation."""
    model, jets = model_of(case), Jets(case.arrays)
    module = module_of(case).eval()
    logits = module(jets.batch)
    loss = functional.cross_entropy(logits, jets.label)
    yield from _both(case, "logits", logits.detach())
    yield from _both(case, "loss", loss.detach())
    with torch.no_grad():
        for name, values in stages(module, jets).items():
            yield from _single(case, name, values)
    yield _norms(case, "grad_norms", module, loss)
    if "out_pair_features" in case.arrays:
        yield _but_masses(case, pair_features(jets, model))


def _trained(case: Case) -> Iterator[Row]:
    """Yield the arrays of training mode: batch statistics, dropout off."""
    model, jets = model_of(case), Jets(case.arrays)
    module = module_of(case).train()
    logits = module(jets.batch)
    loss = functional.cross_entropy(logits, jets.label)
    yield from _both(case, "logits_training", logits.detach())
    yield from _both(case, "loss_training", loss.detach())
    yield _norms(case, "grad_norms_loss_training", module, loss)
    state = published.exported(module.state_dict(), names.entries(model), prefix=names.PREFIX)
    for name in case.arrays:
        if name.startswith("f64_after_training_"):
            values = state[name.removeprefix("f64_after_training_")]
            yield from _single(case, name.removeprefix("f64_"), values)


def _tolerance(case: Case) -> float:
    """Return what a float32 network on exact pair features is held to."""
    return float(case.about["tolerance"]["float32_given_out_pair_features"])


def _single(case: Case, name: str, ours: object) -> Iterator[Row]:
    """Yield how `ours` compares with the authors' float64 array, if the case has it."""
    if f"f64_{name}" in case.arrays:
        yield compared(case, f"f64_{name}", ours, tolerance=_tolerance(case))


def _both(case: Case, name: str, ours: object) -> Iterator[Row]:
    """Yield how `ours` compares with the authors' float64 array and, within noise, float32."""
    yield from _single(case, name, ours)
    if f"out_{name}" in case.arrays:
        noise = case.about["measured_float32_against_float64_of_the_peer"][name]
        yield compared(case, f"out_{name}", ours, tolerance=3 * noise + _tolerance(case))


def _norms(case: Case, name: str, module: nn.Module, loss: Tensor) -> Row:
    """Return how the norms of the gradients of `loss` compare, each by its name."""
    module.zero_grad()
    loss.backward()
    entries = (
        replace(entry, theirs=names.PREFIX + str(entry.theirs))
        for entry in names.entries(model_of(case))
    )
    found = gradient_norms(module, entries)
    return compared_gradients(
        case, name.replace("norms", "names"), f"f64_{name}", found, tolerance=_tolerance(case)
    )


def _but_masses(case: Case, ours: NDArray[np.float64]) -> Row:
    """Return how ln kT, ln z and ln Δ compare; ln m² in single precision is rounding."""
    name = "out_pair_features"
    cut = Case(case.path)
    cut.__dict__["arrays"] = {name: case.arrays[name][:, :MASS]}
    return compared(cut, name, ours[:, :MASS], tolerance=1e-5)
