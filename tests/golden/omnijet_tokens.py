"""OmniJet-alpha's VQ-VAEs held to the authors' own: latents, codes, losses and gradients."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.families.vqvae import objective
from pipeline.families.vqvae import published as names
from pipeline.families.vqvae.module import build
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

BUFFERS = ("quantiser.moved", "quantiser.idle", "quantiser.steps")
# What vqtorch keeps beside weights.
THEIR_BUFFERS = ("vqlayer.data_initialized", "vqlayer._counts")

MARGIN = 1e-5  # between the nearest and the second nearest code, below which either may be taken


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class")).startswith("VQVAE")


def model_of(case: Case, **changes: Any) -> VQVAE | VQVAEMLP:
    """Return the declaration of the published settings."""
    given = case.configuration
    settings = {
        "codes": given["codes"],
        "latent": given["latent"],
        "beta": given["beta"],
        "sync": given["sync_nu"],
        "affine_rate": given["affine_lr"],
        "padding": "counted",
        "padded_to": case.arrays["in_x"].shape[1],
        **changes,
    }
    if given["kind"] == "mlp":
        (width,) = set(given["hidden"])
        return VQVAEMLP(hidden_width=width, layers=len(given["hidden"]), **settings)
    return VQVAE(
        hidden_width=given["width"], heads=given["heads"], blocks=given["blocks"], **settings
    )


def module_of(case: Case, model: VQVAE | VQVAEMLP) -> Any:
    """Return our module with the published weights, in evaluation."""
    module = build(model, None)
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    theirs = {name: each for name, each in case.weights.items() if name not in THEIR_BUFFERS}
    weights = published.imported(theirs, names.entries(model), shapes, source=str(case.path))
    missing = module.load_state_dict(weights, strict=False).missing_keys
    assert set(missing) <= set(BUFFERS), missing
    return module.eval()


def batch_of(case: Case) -> Batch:
    """Return the jets packed."""
    real = case.arrays["in_mask"] > 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(1))])
    return Batch(
        torch.from_numpy(case.arrays["in_x"][real]),
        torch.from_numpy(offsets),
        torch.arange(len(real)),
    )


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares; of padding, where all places are alike, one."""
    model, batch = model_of(case), batch_of(case)
    module, real = module_of(case, model), case.arrays["in_mask"] > 0
    lengths = Lengths.of(batch.offsets)
    states = _states(module)
    latent = module.encoder(batch.points, lengths).detach()
    yield compared(case, "out_latent", latent, where=real)
    yield compared(case, "out_codebook", module.quantiser.codebook.detach())
    codes = module.encode(batch.points, batch.offsets)
    clear = case.arrays["out_margin"] > MARGIN
    yield compared(case, "out_codes", codes[clear[real]], where=real & clear)
    quantised = module.quantiser.codebook.detach()[codes]
    yield compared(case, "out_quantised", quantised, where=real)
    squared = (latent - quantised).square()
    yield compared(case, "out_squared_error_code_real_only", squared)
    output = module(batch)
    yield compared(case, "out_reconstruction", output.features.detach(), where=real)
    for name, state in states.items():
        yield compared(case, name, state, where=real)
    yield from _losses(case, module, output, batch)
    entries = list(names.entries(model))
    yield compared_gradients(case, "grad_names", "grad_norms", gradient_norms(module, entries))


def _states(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return what leaves each block, filled in as the module is called."""
    states: dict[str, torch.Tensor] = {}
    for part in ("encoder", "decoder"):
        blocks = getattr(getattr(module, part), "blocks", ())
        for number, block in enumerate(blocks):
            block.register_forward_hook(
                lambda _m, _i, out, name=f"out_{part}_block{number}": states.update(
                    {name: out.detach()}
                )
            )
    return states


def _losses(case: Case, module: nn.Module, output: Any, batch: Batch) -> Iterator[Row]:
    """Yield the losses with their reduction, of which gradients are left behind, and with ours."""
    reconstruction = objective.reconstruction(output, batch)["reconstruction"]
    commitment = objective.commitment(output, batch)["commitment"]
    total = reconstruction + case.configuration["alpha"] * commitment
    yield compared(case, "out_loss_reconstruction", reconstruction.detach())
    yield compared(case, "out_loss_commitment", commitment.detach())
    yield compared(case, "out_loss", total.detach())
    squared = (output.features.detach() - batch.points).square().mean()
    yield compared(case, "out_loss_reconstruction_real_only", squared)
    total.backward()
