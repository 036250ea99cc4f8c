"""ParticleNet held to the authors' own: logits, losses, gradients and running statistics."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.families.particlenet import published as names
from pipeline.families.particlenet.module import build
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn import published
from pipeline.nn.batch import Batch
from tests.golden.cases import Case, Row, compared, gradient_norms

CHOICES = {17: "full", 13: "kinpid", 7: "kin"}


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return case.about.get("peer_class") == "ParticleNet"


def model_of(case: Case) -> ParticleNet:
    """Return the declaration of the published settings."""
    given = case.configuration
    neighbours, layers = {k for k, _ in given["conv_params"]}, [w for _, w in given["conv_params"]]
    ((inner, dropout),) = given["fc_params"]
    (count,) = neighbours
    return ParticleNet(
        inputs=CHOICES[given["input_dims"]],
        widths=[widths[0] for widths in layers],
        convolutions=len(layers[0]),
        neighbours=count,
        inner=inner,
        classes=given["num_classes"],
        dropout=dropout,
    )


def module_of(case: Case) -> nn.Module:
    """Return our module with the published weights."""
    model = model_of(case)
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(
        case.weights, names.entries(model), shapes, prefix=names.PREFIX, source=str(case.path)
    )
    module.load_state_dict(weights)
    return module


def batch_of(features: np.ndarray, mask: np.ndarray) -> Batch:
    """Return jets packed: features (B, F, L) where the mask (B, 1, L) is 1."""
    real = mask[:, 0] > 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(1))])
    points = np.moveaxis(features, 1, 2)[real]
    return Batch(
        torch.from_numpy(np.ascontiguousarray(points, np.float32)),
        torch.from_numpy(offsets.astype(np.int64)),
        torch.arange(len(features)),
    )


def gradients(module: nn.Module, loss: Tensor, model: ParticleNet) -> dict[str, float]:
    """Return the norm of the gradient of each parameter, by the authors' name."""
    module.zero_grad()
    loss.backward()
    return gradient_norms(module, names.entries(model))


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    model, arrays = model_of(case), case.arrays
    module = module_of(case).eval()
    batch = batch_of(arrays["in_pf_features"], arrays["in_pf_mask"])
    logits = module(batch)
    loss = functional.cross_entropy(logits, torch.from_numpy(arrays["in_label"]).long())
    yield compared(case, "out_logits", logits.detach())
    yield compared(case, "out_probabilities", logits.detach().softmax(1))
    yield compared(case, "out_loss", loss.detach())
    yield _norms(case, "grad", gradients(module, loss, model))
    if "in_whole_features" in arrays:
        yield from _trained(case, model)


def _norms(case: Case, kind: str, found: dict[str, float]) -> Row:
    """Return how the norms of gradients compare, each by its name."""
    of, end = ("grad_names", "grad_norms") if kind == "grad" else (
        f"grad_names_{kind}", f"grad_norms_{kind}"
    )  # fmt: skip
    theirs = [str(name).removeprefix(names.PREFIX) for name in case.arrays[of]]
    missing = [name for name in theirs if name not in found]
    assert not missing, f"{case.path}: no gradient of {missing[0]}"
    tolerance = 10 * case.about.get("measured_float32_against_float64_of_the_peer", {}).get(
        "grad_norms", 1e-6
    )
    return compared(
        case, end, [found[name] for name in theirs], tolerance=max(tolerance, case.tolerance(end))
    )


def _trained(case: Case, model: ParticleNet) -> Iterator[Row]:
    """Yield the arrays of training mode: batch statistics, dropout off."""
    arrays = case.arrays
    module = module_of(case).train()
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
    batch = batch_of(arrays["in_whole_features"], arrays["in_whole_mask"])
    logits = module(batch)
    loss = functional.cross_entropy(logits, torch.from_numpy(arrays["in_whole_label"]).long())
    yield compared(case, "out_logits_training", logits.detach())
    yield compared(case, "out_loss_training", loss.detach())
    yield _norms(case, "loss_training", gradients(module, loss, model))
    state = published.exported(module.state_dict(), names.entries(model))
    for name in arrays:
        if name.startswith("out_after_training_"):
            yield compared(case, name, state[name.removeprefix("out_after_training_")])
