"""A model as a graph of ONNX: one event a call, of any number of points, in physical units.

Axes: P points of an event, F columns, W width.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.errors import BadInput
from pipeline.data.events import Array
from pipeline.data.experiment import Column
from pipeline.families import Reads
from pipeline.nn.batch import Batch
from pipeline.nn.lengths import Lengths
from pipeline.nn.loading import batch_of
from pipeline.training.loaded import Loaded, Part
from pipeline.training.onnx_operations import translations

POINTS = "points"
TRACED = 200  # points: more than a chunk of a scan, for a graph holds what it was traced with
Named = dict[str, Tensor]


class EventGraph(nn.Module):
    """What a model makes of one event: the predictions of its head, or its states if it has none.

    `columns` normalise the points, unless they are read in physical units.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, loaded: Loaded, columns: Sequence[Column]) -> None:
        super().__init__()
        self.loaded, self.reads = loaded, loaded.reads
        self.backbone = loaded.predictor.model if loaded.predictor is not None else loaded.module
        chosen = [] if self.reads.physical else _chosen(columns, self.reads)
        self.is_physical = self.reads.physical
        numbers = [[each.offset for each in chosen], [each.scale for each in chosen]]
        offset, scale = torch.tensor(numbers, dtype=torch.float64)
        self.register_buffer("offset", offset)
        self.register_buffer("scale", scale)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the arrays of one event, of points (P, F) and what else is read of it."""
        return tuple(self.found(dict(zip(inputs_of(self.reads), inputs, strict=True))).values())

    def found(self, inputs: Named) -> Named:
        """Return the arrays of one event by name."""
        points = inputs[POINTS]
        if not self.is_physical:
            points = ((points.double() - self.offset) / self.scale).float()
        batch = _event(points, inputs, self.reads)
        predictor = self.loaded.predictor
        if predictor is None:
            hidden = self.loaded.hidden_of(batch)
            return {"states": hidden.points[-1], "event_state": hidden.pooled(batch)}
        predicted: Named = predictor.head.module().predict(
            predictor.model(batch), batch, predictor.head
        )
        return predicted


@dataclass(frozen=True)
class Compared:
    """How a graph agreed with the model on some events: their points, and the worst difference.

    That is of all arrays, relative to the largest number in each.
    """

    points: tuple[int, ...]
    difference: float


def inputs_of(reads: Reads) -> tuple[str, ...]:
    """Return the names of the arrays that a graph takes.

    Raises:
        BadInput: The model reads what no graph takes.
    """
    if reads.neighbours:
        message = "the model reads neighbours of points, which a graph cannot be given."
        raise BadInput(message)
    return (POINTS, *reads.per_point, *reads.per_event)


def event_inputs(part: Part, number: int, reads: Reads) -> Named:
    """Return what is read of one event of `part`, its points (P, F) in physical units."""
    events = part.events.slice(number, number + 1)
    batch = batch_of(events, part.columns, reads)
    points = batch.points
    if not reads.physical:
        names = [each.name for each in part.columns]
        points = torch.from_numpy(events.points[:, [names.index(name) for name in reads.columns]])
    return {POINTS: points.float(), **batch.per_point, **batch.per_event}


def export(
    graph: EventGraph, example: Named, to: Path, about: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write `graph` to the file `to`, and `about` in its metadata; return the names of its outputs.

    It is traced with the event `example`.

    Raises:
        BadInput: The model has operations that have no place in a graph.
        ImportError: onnx or onnxscript is not installed.
    """
    inputs = _long(example, graph.reads)
    with torch.no_grad():
        outputs = tuple(graph.found(inputs))
    sizes = [
        {0: torch.export.Dim.DYNAMIC} if name == POINTS or name in graph.reads.per_point else None
        for name in inputs
    ]
    family = graph.loaded.declared.model.family
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            traced = torch.export.export(
                graph,
                tuple(inputs.values()),
                dynamic_shapes={"inputs": tuple(sizes)},
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            program = torch.onnx.export(
                traced,
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=list(outputs),
                custom_translation_table=dict(translations()),
            )
        except ImportError:
            raise
        except Exception as error:
            message = (
                f"{family}: not exported. Its sizes or its search depend on the values of an "
                f"event, which ONNX has no place for ({_first_line(error)}). See docs/python.md."
            )
            raise BadInput(message) from error
    assert program is not None
    program.model.metadata_props["cosmotron"] = json.dumps(about)
    program.save(str(to))
    return outputs


def compared(graph: EventGraph, file: Path, events: Sequence[Named]) -> Compared:
    """Return how the graph in `file`, as ONNX Runtime computes it, agrees with the model.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in events:
        with torch.no_grad():
            ours = graph.found(inputs)
        theirs = session.run(None, {name: each.numpy() for name, each in inputs.items()})
        for one, other in zip(ours.values(), theirs, strict=True):
            worst = max(worst, _difference(one.numpy(), np.asarray(other)))
    return Compared(tuple(each[POINTS].shape[0] for each in events), worst)


def _difference(one: Array, other: Array) -> float:
    """Return the largest difference, relative to the largest number; infinite of other shapes."""
    if one.shape != other.shape:
        return float("inf")
    if not one.size:
        return 0.0
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))


def _chosen(columns: Sequence[Column], reads: Reads) -> list[Column]:
    """Return the columns that are read, in their order."""
    named = {each.name: each for each in columns}
    return [named[name] for name in reads.columns]


def _event(points: Tensor, inputs: Named, reads: Reads) -> Batch:
    """Return a batch of one event, whose number of points may be unknown."""
    count = points.shape[0]
    offsets = torch.arange(2, device=points.device) * count
    return Batch(
        points,
        offsets,
        torch.zeros(1, dtype=torch.int64, device=points.device),
        {name: inputs[name] for name in reads.per_point},
        {name: inputs[name] for name in reads.per_event},
        known=Lengths(offsets, ((1, count),)),
    )


def _long(example: Named, reads: Reads) -> Named:
    """Return the event with its points repeated until they are as many as are traced."""
    count = min(TRACED, reads.most_points or TRACED)
    of_points = (POINTS, *reads.per_point)
    rows = torch.arange(count) % example[POINTS].shape[0]
    return {name: each[rows] if name in of_points else each for name, each in example.items()}


def _first_line(error: BaseException) -> str:
    """Return what an error says first, of its first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
