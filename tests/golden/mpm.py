"""MPM held to the authors' own: inputs, states, outputs, losses and gradients of its three tasks.

Rows of padding, which theirs computes and nothing reads, have no counterpart here.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.families.mpm import module as network
from pipeline.families.mpm import objective
from pipeline.families.mpm import published as names
from pipeline.families.mpm.module import build
from pipeline.families.mpm.spec import MPM
from pipeline.families.omnijet.spec import TOKEN
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from pipeline.nn.published import Entry
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

TASKS = {"labels": "tokens", "tokens": "tokens", "clusters": "clusters", "regression": "regression"}
SYSTEM = "https://github.com/rodem-hep/mpm"


def knows(case: Case) -> bool:
    """Return whether `case` is of this system's pretraining."""
    return SYSTEM in case.about.get("repository", ()) and "in_hidden" in case.arrays


def model_of(case: Case, **changes: Any) -> MPM:
    """Return the declaration of the published settings."""
    given = case.configuration
    task, heads = TASKS[given["task"]], given["heads"]
    settings = {
        "width": given["width"],
        "inner": given["hidden"],
        "heads": heads,
        "layers": given["layers"],
        "points": given["points"],
        "masked": given["max_mask"],
        "objectives": {task: 1.0},
        "positions": positions(given),
        **({"codes": given["classes"]} if task == "tokens" else {}),
        **({"clusters": given["classes"]} if task == "clusters" else {}),
        "reads_centres": bool(given.get("quantised_inputs")),
    }
    if settings["positions"] == "second_encoder":
        settings |= {
            "second_width": given["pos_width"],
            "second_inner": given["pos_hidden"],
            "second_layers": given["pos_layers"],
            "second_heads": given.get("pos_heads", heads),
        }
    return MPM(**{**settings, **changes})


def positions(given: dict[str, Any]) -> str:
    """Return where positions enter."""
    if given["positional_encoder"]:
        return "second_encoder"
    return "inputs" if given["order_inputs"] else "none"


def loaded(module: nn.Module, case: Case, entries: Iterable[Entry], *, prefix: str = "") -> Any:
    """Return `module` with the weights of the case, in evaluation."""
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    theirs = {name.removeprefix(prefix): each for name, each in case.weights.items()}
    theirs = {
        (prefix if prefix + name in case.weights else "") + name: each
        for name, each in names.weights_of(theirs).items()
    }
    weights = published.imported(theirs, entries, shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module.eval()


def real_of(case: Case) -> NDArray[np.bool_]:
    """Return which places of the jets are constituents (B, L)."""
    real: NDArray[np.bool_] = case.arrays["in_mask"] > 0
    return real


def batch_of(case: Case) -> Batch:
    """Return the jets packed, with labels where the case has them."""
    real, arrays = real_of(case), case.arrays
    return Batch(
        torch.from_numpy(arrays["in_x"][real]),
        torch.from_numpy(np.concatenate([[0], np.cumsum(real.sum(1))])),
        torch.arange(len(real)),
        per_point=(
            {TOKEN: torch.from_numpy(arrays["in_labels"][real])} if "in_labels" in arrays else {}
        ),
    )


def states(module: Any) -> dict[str, Tensor]:
    """Return what each stage returns, by the case's names, filled in as the module is called."""
    found: dict[str, Tensor] = {}
    trunk = module.backbone.trunk
    stages = {"out_embedded": trunk.entry, "out_encoded": trunk.norm}
    stages |= {f"out_layer{number}": block for number, block in enumerate(trunk.blocks)}
    stages["out_encoder_output"] = module.exit
    if module.second is not None:
        stages["out_second_encoder_output"] = module.second
    for name, stage in stages.items():
        stage.register_forward_hook(
            lambda _m, _i, out, name=name: found.update({name: out.detach()})
        )
    trunk.register_forward_pre_hook(
        lambda _, given: found.update({"out_normalised_with_mask_tokens": given[0].detach()})
    )
    return found


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    model, batch, real = model_of(case), batch_of(case), real_of(case)
    entries = list(names.entries(model))
    module = loaded(build(model, None), case, entries)
    hidden = torch.from_numpy(case.arrays["in_hidden"][real] > 0)
    counts = torch.bincount(batch.event[network.drawn(batch, model.masked)], minlength=len(real))
    yield _same_counts(case, counts.numpy())
    found = states(module)
    output = module.predicted(batch, hidden)
    stages = dict(found)
    for name, state in stages.items():
        if name in case.arrays:
            yield compared(case, name, state, where=real)
    yield compared(case, "out_task_output", stages[_last(module)], where=real)
    if "out_labels_found" in case.arrays:
        _, labels = module.labelled(batch)
        yield compared(case, "out_labels_found", labels, where=real, tolerance=0.0)
    yield from _losses(case, model, output, batch)
    yield compared_gradients(case, "grad_names", "grad_norms", gradients(case, module, entries))
    unmasked = module.exit(module.backbone.states(batch.points, Lengths.of(batch.offsets)))
    yield compared(case, "out_encoder_on_unmasked", unmasked.detach(), where=real)


def _last(module: Any) -> str:
    """Return the stage whose output the loss reads."""
    return "out_encoder_output" if module.second is None else "out_second_encoder_output"


def _same_counts(case: Case, ours: NDArray[np.int64]) -> Row:
    """Return whether we hide as many constituents of each jet as the authors."""
    theirs = case.arrays["in_hidden"].sum(1)
    return Row("number hidden, of in_hidden", float(np.abs(ours - theirs).max()), 0.0)


def _losses(case: Case, model: MPM, output: network.Masked, batch: Batch) -> Iterator[Row]:
    """Yield the loss and that of each jet; the gradients of the loss are left behind."""
    loss = getattr(objective, model.task)(output, batch)[model.task]
    yield compared(case, "out_loss", loss.detach())
    errors = objective.squares if model.task == "regression" else objective.entropy
    per_jet = objective.per_jet(errors(output), output, batch)
    yield compared(case, "out_loss_per_jet", per_jet.detach())
    loss.backward()


def gradients(case: Case, module: nn.Module, entries: Iterable[Entry]) -> dict[str, float]:
    """Return the norms of gradients by the authors' names, 0 of what gets none.

    The authors' monitor learns from a loss of its own, which the case leaves out.
    """
    theirs = [str(name) for name in case.arrays["grad_names"]]
    known = {name for entry in entries for name in entry.names}
    monitor = {name for name in theirs if names.MONITOR in name}
    found = gradient_norms(module, entries)
    return dict.fromkeys(known | monitor, 0.0) | found
