"""OmniJet-alpha's model of tokens held to the authors' own: states, logits, losses, gradients."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.families.omnijet import published as names
from pipeline.families.omnijet.module import build
from pipeline.families.omnijet.objective import next_token
from pipeline.families.omnijet.spec import SPECIAL, TOKEN, OmniJet
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.published import Entry
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

CAUSAL = "tril"  # the authors' buffer of the causal mask


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return str(case.about.get("peer_class")).startswith("BackboneModel")


def model_of(case: Case, **changes: Any) -> OmniJet:
    """Return the declaration of the published settings."""
    given = case.configuration
    settings = {
        "codes": given["vocabulary"] - SPECIAL,
        "width": given["width"],
        "heads": given["heads"],
        "layers": given["blocks"],
        "padding": "counted",
        "padded_to": given["max_sequence_len"],
    }
    return OmniJet(**{**settings, **changes})


def loaded(
    module: nn.Module, case: Case, entries: list[Entry], *, without: Sequence[str] = ()
) -> Any:
    """Return `module` with the weights of the case, `without` some, in evaluation."""
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    theirs = {
        name: each
        for name, each in case.weights.items()
        if not name.endswith(CAUSAL) and name not in without
    }
    weights = published.imported(theirs, entries, shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module.eval()


def batch_of(case: Case) -> Batch:
    """Return the jets packed; no feature is read."""
    codes, sizes = case.arrays["in_codes"], case.arrays["in_sizes"]
    return Batch(
        torch.zeros(len(codes), 3),
        torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)])),
        torch.arange(len(sizes)),
        per_point={TOKEN: torch.from_numpy(codes)},
    )


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares; of the padding of a jet, all of it."""
    model, batch = model_of(case), batch_of(case)
    entries = list(names.entries(model))
    module = loaded(build(model, None), case, entries)
    real = case.arrays["in_mask"]
    states: dict[str, torch.Tensor] = {}
    for number, block in enumerate(module.backbone.blocks):
        block.register_forward_hook(
            lambda _m, _i, out, name=f"out_block{number}": states.update({name: out.detach()})
        )
    output = module(batch)
    for name, state in states.items():
        yield compared(case, name, state, where=real)
    logits = torch.empty(*real.shape, model.vocabulary)
    logits[torch.from_numpy(real)] = output.logits.detach()
    jets, _ = np.nonzero(~real)
    logits[torch.from_numpy(~real)] = output.padding.detach()[torch.from_numpy(jets)]
    yield compared(case, "out_logits", logits)
    yield compared(case, "in_target", output.target, where=real, tolerance=0.0)
    yield from _losses(case, module, batch)
    yield compared_gradients(case, "grad_names", "grad_norms", gradient_norms(module, entries))


def _losses(case: Case, module: Any, batch: Batch) -> Iterator[Row]:
    """Yield the losses, by three reductions; the gradients of the published one are left behind."""
    output = module(batch)
    nats = functional.cross_entropy(output.logits, output.target, reduction="none").detach()
    yield compared(case, "out_loss_mean_over_real_words", nats.mean())
    per_jet = nats.new_zeros(len(batch.sizes)).index_add(0, output.event, nats)
    yield compared(case, "out_loss_sum_per_jet", per_jet)
    loss = next_token(output, batch)["next_token"]
    yield compared(case, "out_loss", loss.detach())
    loss.backward()
