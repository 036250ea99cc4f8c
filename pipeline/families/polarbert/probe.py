"""PolarBERT probed: where masked pulses were seen, and the charge of events, predicted and true.

Axes: B events · P pulses, packed · M masked pulses · S sensors.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.store.tables import read_tables
from pipeline.evaluation.result import EvaluationResult, Histogram, histogram, mean_interval
from pipeline.families.polarbert.module import Output
from pipeline.families.polarbert.objective import entropies, targets
from pipeline.nn.batch import Batch
from pipeline.probing import Subject

TOP = 10
ABOUT = {
    "accuracy": "share of masked pulses whose sensor the model puts first",
    "accuracy_top10": "share whose sensor is among the model's first ten",
    "accuracy_most_frequent": "of always naming the sensor with most of these pulses",
    "accuracy_nearest_in_time": "of naming the sensor of the pulse nearest in time that is seen",
    "cross_entropy": "mean over masked pulses, nats",
    "cross_entropy_uniform": "of all sensors alike: ln S",
    "distance_median_m": "from the sensor the model puts first to the true one",
    "distance_median_most_frequent_m": "from the sensor with most of these pulses",
    "distance_median_nearest_in_time_m": "from the sensor of the pulse nearest in time",
    "charge_r2": "of log10 of the total charge; 0 is to say their mean, 1 is perfect",
    "charge_r2_visible": "of adding up the pulses at hand: exact where none were left out",
    "charge_rms": "error of log10 of the total charge, root mean square",
    "charge_rms_mean": "of saying the mean",
    "charge_rms_visible": "of adding up the pulses at hand",
}
Floats = NDArray[np.float64]
Rows = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Found:
    """What was found: of masked pulses (M), and of events (B), each array by name."""

    pulses: Rows
    events: Rows


def probe(subject: Subject) -> EvaluationResult:
    """Return how well masked sensors and charges are predicted, beside guesses that need no model.

    Of masked pulses `accuracy`, `cross_entropy` and distances are over pulses, not over events as
    the loss. The guesses: the sensor with most of the masked pulses, a little flattered, for it is
    counted on the truth; and that of the pulse nearest in time, of those that are neither masked
    nor, if there is another, auxiliary. Intervals are over events.

    Raises:
        ValueError: No pulse was masked.
    """
    found = _found(subject)
    positions = read_tables(subject.store.path)["geometry"].astype(np.float64)
    where = {
        name: positions[found.pulses[name].astype(np.int64)]
        for name in ("true", "predicted", "nearest")
    }
    frequent = np.bincount(found.pulses["true"].astype(np.int64)).argmax()
    scores = {
        **_sensor_scores(found.pulses, frequent, len(positions)),
        **{
            name: float(np.median(np.linalg.norm(guess - where["true"], axis=1)))
            for name, guess in (
                ("distance_median_m", where["predicted"]),
                ("distance_median_most_frequent_m", positions[frequent]),
                ("distance_median_nearest_in_time_m", where["nearest"]),
            )
        },
        **_charge_scores(found.events),
    }
    return EvaluationResult(
        scores={name: scores[name] for name in ABOUT},
        intervals=_intervals(found.pulses, subject.seed),
        about=ABOUT,
        histograms=_histograms(found.events, where["true"], where["predicted"]),
    )


def _sensor_scores(pulses: Rows, frequent: np.intp, sensors: int) -> dict[str, float]:
    """Return the scores of sensors, but for distances."""
    true = pulses["true"]
    return {
        "accuracy": float((pulses["rank"] == 0).mean()),
        "accuracy_top10": float((pulses["rank"] < TOP).mean()),
        "accuracy_most_frequent": float((true == frequent).mean()),
        "accuracy_nearest_in_time": float((true == pulses["nearest"]).mean()),
        "cross_entropy": float(pulses["entropy"].mean()),
        "cross_entropy_uniform": math.log(sensors),
    }


def _charge_scores(events: Rows) -> dict[str, float]:
    """Return the scores of charges."""
    true = events["charge"]
    square = float(true.var())
    scores = {"charge_rms_mean": math.sqrt(square)}
    for name, guess in (("", events["predicted"]), ("_visible", events["visible"])):
        error = float(((guess - true) ** 2).mean())
        scores[f"charge_rms{name}"] = math.sqrt(error)
        scores[f"charge_r2{name}"] = 1 - error / square if square else math.nan
    return scores


def _intervals(pulses: Rows, seed: int) -> dict[str, tuple[float, float]]:
    """Return 68 % intervals of means over pulses, which go by events."""
    _, event = np.unique(pulses["event"], return_inverse=True)
    counts = np.bincount(event).astype(np.float64)
    values = {
        "accuracy": pulses["rank"] == 0,
        "accuracy_top10": pulses["rank"] < TOP,
        "cross_entropy": pulses["entropy"],
    }
    return {
        name: mean_interval(np.bincount(event, weights=each) / counts, counts, seed=seed)
        for name, each in values.items()
    }


def _histograms(events: Rows, true: Floats, predicted: Floats) -> list[Histogram]:
    """Return those of the charge, and of where (M, 3), m, masked pulses were seen.

    The radius is the distance from the axis of the array.
    """
    return [
        histogram("log10 of the total charge in p.e.", events["charge"], events["predicted"]),
        histogram("z of masked pulses", true[:, 2], predicted[:, 2], unit="m"),
        histogram(
            "radius of masked pulses",
            np.hypot(true[:, 0], true[:, 1]),
            np.hypot(predicted[:, 0], predicted[:, 1]),
            unit="m",
        ),
    ]


@torch.no_grad()
def _found(subject: Subject) -> Found:
    """Return the predictions for all events, and the truth."""
    pulses: list[dict[str, Tensor]] = []
    events: list[dict[str, Tensor]] = []
    first = 0
    for each in subject.batches():
        batch = each.to(subject.device)
        output = subject.system.module(batch)
        pulses.append(_of_pulses(output, batch, first))
        events.append(_of_events(output, batch))
        first += len(batch.sizes)
    if not sum(len(each["true"]) for each in pulses):
        message = "no pulse was masked: probe more events, or some with pulses not auxiliary"
        raise ValueError(message)
    return Found(_joined(pulses), _joined(events))


def _joined(parts: list[dict[str, Tensor]]) -> Rows:
    return {
        name: torch.cat([each[name] for each in parts]).double().cpu().numpy() for name in parts[0]
    }


def _of_pulses(output: Output, batch: Batch, first: int) -> dict[str, Tensor]:
    """Return of each masked pulse (M) its event, sensors, their rank, and the cross-entropy."""
    true = targets(output, batch)
    right = output.sensors.gather(1, true.unsqueeze(1))
    return {
        "event": batch.event[output.masked] + first,
        "true": true - 1,
        "predicted": output.sensors[:, 1:].argmax(1),  # class 0 is no sensor
        "nearest": batch.per_point["sensor_id"][nearest_in_time(output.masked, batch)],
        "rank": (output.sensors > right).sum(1),
        "entropy": entropies(output, batch),
    }


def nearest_in_time(masked: Tensor, batch: Batch) -> Tensor:
    """Return the row (M) of the pulse nearest in time to each masked one, of its event.

    Of those that are shown and not auxiliary, if there are any; or else of the auxiliary ones; or
    else, where an event is all masked, the first of the event, whose sensor is then given away.
    """
    time, event = batch.points[:, 0], batch.event
    shown = torch.ones_like(event, dtype=torch.bool)
    shown[masked] = False
    gap = (time[masked, None] - time[None, :]).abs()
    gap = gap + 1e3 * batch.per_point["auxiliary"]
    gap = gap.masked_fill(~shown | (event[masked, None] != event[None, :]), torch.inf)
    found = gap.argmin(1)
    alone = gap.isinf().all(1)
    return torch.where(alone, batch.offsets[:-1][event[masked]], found)


def _of_events(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Return of each event (B) log10 of its charge: true, predicted, and of the pulses at hand."""
    visible = batch.points.new_zeros(len(batch.sizes)).index_add(0, batch.event, batch.points[:, 1])
    return {
        "charge": batch.per_event["total_charge"].log10(),
        "predicted": output.charge.float(),
        "visible": visible.log10(),
    }
