"""MPM's VQ-VAE held to the authors' own: latents, codes, labels, losses and gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pipeline.families.mpm_vqvae import objective
from pipeline.families.mpm_vqvae import published as names
from pipeline.families.mpm_vqvae.module import build
from pipeline.families.mpm_vqvae.spec import MPMVQVAE
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.k_means import nearest
from pipeline.nn.lengths import Lengths
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms
from tests.golden.mpm import SYSTEM, batch_of, real_of

# Of the training; the authors' files do not hold them.
BUFFERS = {f"quantiser.{name}" for name in ("moved", "idle", "steps")} | {"normaliser.frozen"}
MARGIN = 1e-5  # between the nearest and the second nearest code, below which either may be taken


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return SYSTEM in case.about.get("repository", ()) and case.about.get("peer_class") == "VqVae"


def model_of(case: Case, **changes: Any) -> MPMVQVAE:
    """Return the declaration of the published settings."""
    given = case.configuration
    settings = {
        "codes": given["codes"],
        "latent": given["latent"],
        "width": given["width"],
        "inner": given["hidden"],
        "heads": given["heads"],
        "layers": given["layers"],
        "beta": given["beta"],
        "sync": given["sync_nu"],
        "affine_rate": given["affine_lr"],
    }
    return MPMVQVAE(**{**settings, **changes})


def module_of(case: Case, model: MPMVQVAE) -> Any:
    """Return our module with the published weights, in evaluation."""
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    theirs = names.weights_of(case.weights)
    weights = published.imported(theirs, names.entries(model), shapes, source=str(case.path))
    missing = module.load_state_dict(weights, strict=False).missing_keys
    assert set(missing) == BUFFERS, missing
    return module.eval()


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares, of constituents."""
    model, batch, real = model_of(case), batch_of(case), real_of(case)
    module = module_of(case, model)
    quantiser = module.quantiser
    normalised = module.normaliser(batch.points)
    latent = module.encoder(normalised, Lengths.of(batch.offsets)).detach()
    yield compared(case, "out_latent", latent, where=real)
    yield compared(case, "out_codebook", quantiser.codebook.detach())
    codes, clear = nearest(latent, quantiser.codebook), case.arrays["out_margin"] > MARGIN
    yield compared(case, "out_codes", codes[clear], where=clear, tolerance=0.0)
    raw = module.raw(codes)
    yield compared(case, "out_codes_of_predict_step", raw[clear], where=clear, tolerance=0.0)
    yield compared(case, "out_quantised", quantiser.codebook.detach()[codes], where=real)
    yield compared(case, "out_margin", _margins(latent, quantiser.codebook.detach()))
    output = module.reconstructed(batch.points, batch)
    yield compared(case, "out_reconstruction", output.made.detach(), where=real)
    yield from _losses(case, output, batch)
    entries = list(names.entries(model))
    yield compared_gradients(case, "grad_names", "grad_norms", gradient_norms(module, entries))


def _margins(latent: torch.Tensor, codebook: torch.Tensor) -> np.ndarray:
    """Return how much further the second nearest code is than the nearest (P)."""
    two = torch.cdist(latent.double(), codebook.double()).topk(2, 1, largest=False).values
    margins: np.ndarray = (two[:, 1] - two[:, 0]).numpy()
    return margins


def _losses(case: Case, output: Any, batch: Batch) -> Iterator[Row]:
    """Yield the losses; the gradients of their sum are left behind."""
    reconstruction = objective.reconstruction(output, batch)["reconstruction"]
    commitment = objective.commitment(output, batch)["commitment"]
    total = reconstruction + case.configuration["alpha"] * commitment
    yield compared(case, "out_loss_reconstruction", reconstruction.detach())
    yield compared(case, "out_loss_latent", commitment.detach())
    yield compared(case, "out_loss", total.detach())
    total.backward()
