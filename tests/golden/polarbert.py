"""PolarBERT held to the authors' own: hidden states, logits, losses, gradients, preprocessing."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import torch
from numpy.typing import NDArray
from pyarrow import parquet
from torch import Tensor, nn

from pipeline.data.events import Events
from pipeline.data.experiments.icecube import GEOMETRY, ICECUBE
from pipeline.data.preparation.directions import angles, unit_vectors
from pipeline.data.preparation.pulses import CHARGE_SCALE, polarbert_inputs
from pipeline.data.preparation.serialise import Preparation, serialise, usable
from pipeline.data.readers.kaggle import open_batch
from pipeline.downstream.direction import loss as direction
from pipeline.downstream.direction.spec import DirectionTask
from pipeline.evaluation.directions import opening_angles
from pipeline.families.polarbert import objective
from pipeline.families.polarbert import published as names
from pipeline.families.polarbert.module import Backbone, build
from pipeline.families.polarbert.spec import PolarBERT
from pipeline.nn import published
from pipeline.nn.batch import Batch
from pipeline.training.network import Downstream
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms

SENSORS = 5160
LAYERS: dict[str, dict[str, Any]] = {
    "flash": {},
    "direction": {},
    "swiglu": {"activation": "swiglu"},
    "base": {"pytorch_layers": True, "padding": "seen", "dropout": 0.1},
}
FORTIETH = slice(None, None, 40)  # of the logits that a case has


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return "PolarBERT" in str(case.about["repository"])


def model_of(case: Case, **changes: Any) -> PolarBERT:
    """Return the declaration of the published settings."""
    given = case.configuration
    settings = {
        "width": given["embedding_dim"],
        "sensor_width": given["dom_embed_dim"],
        "heads": given["num_heads"],
        "inner": given["hidden_size"],
        "layers": given["num_layers"],
        "sensors": given["num_doms"],
        "embedding": "table",
        "masked": given["mask_prob"] or 0.25,  # the direction masks nothing
    }
    return PolarBERT(**{**settings, **LAYERS[given["kind"]], **changes})


def batch_of(case: Case) -> Batch:
    """Return the events packed; x (B, 127, 4) has log10 of the charge, and sensors from 1."""
    arrays = case.arrays
    x, sizes = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["length"]).long()
    pulses = x[real(case)]
    batch = Batch(
        torch.stack([pulses[:, 0], (10 ** (pulses[:, 1].double() * CHARGE_SCALE)).float()], 1),
        torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]),
        torch.arange(len(sizes)),
        per_point={"auxiliary": pulses[:, 2] > 0, "sensor_id": pulses[:, 3].long() - 1},
        per_event={"total_charge": torch.from_numpy(arrays["total_charge"])},
    )
    for name in ("azimuth", "zenith"):
        if name in arrays:
            batch.per_event[name] = torch.from_numpy(arrays[name])
    return batch


def real(case: Case) -> NDArray[np.bool_]:
    """Return which of the places (B, 127) hold a pulse."""
    places: NDArray[np.bool_] = (
        np.arange(case.arrays["x"].shape[1]) < case.arrays["length"][:, None]
    )
    return places


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    if "kept" in case.arrays:
        yield from _preprocessing(case)
    elif case.configuration["kind"] == "direction":
        yield from _direction(case)
    else:
        yield from _pretraining(case)


def loaded(module: nn.Module, case: Case, entries: list[published.Entry]) -> nn.Module:
    """Return `module` with the weights of the case, in evaluation."""
    shapes = {name: each.shape for name, each in module.state_dict().items()}
    weights = published.imported(case.weights, entries, shapes, source=str(case.path))
    module.load_state_dict(weights)
    return module.eval()


def _pretraining(case: Case) -> Iterator[Row]:
    """Yield the states, the predictions, the losses and the gradients of pretraining."""
    model, batch, places = model_of(case), batch_of(case), real(case)
    entries = list(names.entries(model))
    module: Any = loaded(build(model, None), case, entries)
    states = _states(module.backbone, batch)
    hidden = module.hidden(batch, torch.from_numpy(case.arrays["draws"])[places])
    yield compared(case, "mask", hidden, where=places, tolerance=0.0)
    output = module.predict(batch, hidden)
    yield from _hidden(case, states)
    yield from _predictions(case, output)
    every = module.sensors(module.backbone(batch, hidden)[0]).logsumexp(1)
    yield compared(case, "sums_of_logits", every.detach(), where=places)
    sensors = objective.sensors(output, batch)["sensors"]
    charge = objective.charge(output, batch)["charge"]
    total = sensors + case.configuration["lambda_charge"] * charge
    for name, loss in (("sensors", sensors), ("charge", charge), ("total", total)):
        yield compared(case, f"loss_{name}", loss.detach())
    total.backward()
    norms = gradient_norms(module, entries)
    yield compared_gradients(case, "grad_names", "grad_loss_total", norms)
    if "if_padding_were_hidden_charge" in case.arrays:
        module = loaded(build(model_of(case, padding="hidden"), None), case, entries)
        yield from _predictions(case, module.predict(batch, hidden), "if_padding_were_hidden_")


def _predictions(case: Case, output: Any, prefix: str = "") -> Iterator[Row]:
    """Yield how sensors and charges compare."""
    yield compared(case, f"{prefix}charge", output.charge.detach()[:, None])
    logits = output.sensors.detach()
    if f"{prefix}logits_of_masked" in case.arrays:
        yield compared(case, f"{prefix}logits_of_masked", logits[:, FORTIETH])
    if not prefix:
        event, place = case.arrays["masked_at"].T
        target = torch.from_numpy(case.arrays["x"][event, place, 3]).long()
        yield compared(case, "logit_of_target", logits.gather(1, target[:, None])[:, 0])


def _states(backbone: Backbone, batch: Batch) -> dict[str, tuple[Tensor, Batch]]:
    """Return what enters the first block and leaves each, filled in as the backbone is called."""
    states: dict[str, tuple[Tensor, Batch]] = {}

    def keep(name: str, state: Tensor, tokens: Batch) -> None:
        states[name] = state.detach(), tokens

    def embedded(module: nn.Module, given: tuple[Batch]) -> None:
        keep("embedded", given[0].points, given[0])
        for number, layer in enumerate(module.layers):  # type: ignore[arg-type]
            layer.register_forward_hook(
                lambda _m, _i, out, at=number, tokens=given[0]: keep(f"hidden_{at}", out, tokens)
            )

    backbone.body.register_forward_pre_hook(embedded)
    return states


def _hidden(case: Case, states: dict[str, tuple[Tensor, Batch]]) -> Iterator[Row]:
    """Yield how states compare; theirs have the class token first, ours last in its event."""
    length = case.arrays["length"]
    shown = np.concatenate([np.ones((len(length), 1), np.bool_), real(case)], 1)
    for name, (state, tokens) in states.items():
        if name in case.arrays:
            last = tokens.offsets[1:] - 1
            rows = [
                torch.cat([last[event, None], tokens.offsets[event] + torch.arange(int(size))])
                for event, size in enumerate(length)
            ]
            yield compared(case, name, state[torch.cat(rows)], where=shown)


def _direction(case: Case) -> Iterator[Row]:
    """Yield the states, the directions, the loss and the gradients of the direction."""
    model, batch = model_of(case), batch_of(case)
    task = DirectionTask(inner=case.configuration["directional_hidden"])
    entries = list(names.direction(model))
    module: Any = loaded(Downstream(model, task), case, entries)
    states = _states(module.backbone, batch)
    hidden = module.hidden_of(batch)
    yield from _hidden(case, states)
    yield compared(case, "class_token", hidden.events.detach())
    found = module.head(hidden, batch)
    yield compared(case, "direction", found.detach())
    true = unit_vectors(case.arrays["azimuth"], case.arrays["zenith"])
    yield compared(case, "true_direction", direction.unit_vectors(batch))
    loss = direction.opening_angle(found, batch)["angle"]
    yield compared(case, "loss", loss.detach())
    loss.backward()
    norms = gradient_norms(module, entries)
    yield compared_gradients(case, "grad_names", "grad_loss", norms)
    vectors = found.detach().double().numpy()
    azimuth, zenith = angles(vectors)
    turned = np.where(azimuth > np.pi, azimuth - 2 * np.pi, azimuth)  # theirs ends at pi
    yield compared(case, "angles_of_direction", np.stack([turned, zenith], 1))
    yield compared(case, "angular_score_of_angles", opening_angles(true, vectors).mean())


def _preprocessing(case: Case) -> Iterator[Row]:
    """Yield what the reader, the selection and the scaling make of a batch of the competition.

    Which pulses are drawn where there are too many is each code's own; compared is there that each
    keeps as many, and all that are not auxiliary while they fit.
    """
    arrays, most = case.arrays, case.configuration["seq_length"]
    events = _read(case)
    yield compared(case, "total_charge", events.per_event["total_charge"], tolerance=1e-6)
    settings = Preparation(ICECUBE, ICECUBE.order, max_points=most)
    ours = serialise(usable(events, settings)[0], settings)[0]
    yield compared(case, "length", ours.sizes, tolerance=0.0)
    kept = np.zeros(len(events.points), np.bool_)
    kept[arrays["kept"] + np.repeat(events.offsets[:-1], arrays["length"])] = True
    theirs = events.thin(kept)
    inputs = polarbert_inputs(
        theirs.column("time"),
        theirs.column("charge"),
        theirs.per_point["auxiliary"],
        theirs.per_point["sensor_id"],
    )
    x = np.column_stack([inputs.features, inputs.sensor])
    yield Row("x", float(np.abs(x - arrays["x"][real(case)]).max()), 1e-6)
    good = [
        np.add.reduceat(~each.per_point["auxiliary"], each.offsets[:-1]) for each in (ours, theirs)
    ]
    yield Row("pulses not auxiliary", float(np.abs(good[0] - good[1]).max()), 0.0)
    whole = np.repeat(arrays["sizes"] <= most, arrays["length"])
    apart = np.abs(ours.points - theirs.points)[whole]
    yield Row("order of the pulses of whole events", float(apart.max()), 0.0)


def _read(case: Case) -> Events:
    """Return the events of the case as our reader has them of a file of the competition."""
    arrays = case.arrays
    sensors = np.arange(SENSORS)
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "batch_1.parquet"
        columns = {
            "event_id": np.repeat(np.arange(len(arrays["sizes"])), arrays["sizes"]),
            **{name: arrays[name] for name in ("sensor_id", "time", "charge", "auxiliary")},
        }
        parquet.write_table(pyarrow.table(columns), batch)
        table = np.column_stack([sensors, sensors, sensors, sensors])
        np.savetxt(Path(folder) / GEOMETRY, table, "%d", ",", header="sensor_id,x,y,z", comments="")
        with open_batch(batch) as entries:
            return entries.read(0, entries.count)[0]
