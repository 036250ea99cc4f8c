"""Write a model as a graph of ONNX, and hold it to the model on some events.

`python -m pipeline.training.programs.to_onnx FOLDER EVENTS FILE`; what `cosmotron weights onnx`
starts.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.errors import BadInput
from pipeline.masking import print_traceback
from pipeline.outcome import Exit, classify
from pipeline.training.loaded import Loaded, Part
from pipeline.training.onnx_graph import EventGraph, compared, event_inputs, export, inputs_of
from pipeline.writing import written

EVENTS = 32  # that a graph is held to
TOLERANCE = 1e-4  # of predictions, relative to the largest


def write(folder: Path, events: Path, file: Path, split: str, store: Path | None) -> str:
    """Write the model in `folder` to `file`, whole or not at all; return how it was held to it.

    `events` is a store, of whose `split` some are taken, or a file of the kind that the model was
    trained on. `store` has the detector's tables, which some models read.

    Raises:
        BadInput: There is something at `file`, there are no events, the model has no graph, or the
            graph does something else.
    """
    _needed()
    if file.exists():
        message = f"{file}: is there already. Name another file."
        raise BadInput(message)
    if not events.exists():
        message = f"{events}: not there. Give a store, or a file as the model was trained on."
        raise BadInput(message)
    is_store = (events / "manifest.json").is_file()
    loaded = Loaded.of(folder, store or (events if is_store else None), "cpu")
    parts = loaded.of_store(events, split) if is_store else loaded.of_files([str(events)])
    part = next(iter(parts), None)
    if part is None or not len(part.events):
        message = f"{events}: no event to try the graph on."
        raise BadInput(message)
    graph = EventGraph(loaded, part.columns).eval()
    tried = [event_inputs(part, number, graph.reads) for number in _various(part)]
    with written(file) as unfinished:
        outputs = export(graph, tried[-1], unfinished, _about(graph, part))
        found = compared(graph, unfinished, tried)
        if not found.difference <= TOLERANCE:
            message = (
                f"{file}: not written. The graph's predictions differ from the model's by "
                f"{found.difference:.1e} of the largest, on events of {_range(found.points)} "
                "points. Please report it, with the model's config.toml."
            )
            raise BadInput(message)
    return (
        f"{file}: takes {', '.join(graph_inputs(graph))}; gives {', '.join(outputs)}. Held "
        f"to the model on {len(tried)} events of {_range(found.points)} points: the largest "
        f"difference is {found.difference:.1e} of the largest number."
    )


def graph_inputs(graph: EventGraph) -> list[str]:
    """Return the inputs of a graph, the points with their number of columns."""
    first, *rest = inputs_of(graph.reads)
    return [f"{first} (P, {len(graph.reads.columns)})", *rest]


def _about(graph: EventGraph, part: Part) -> dict[str, Any]:
    """Return what a user has to know of the inputs and outputs, for the file's metadata."""
    units = {each.name: each.unit for each in part.columns}
    model, predictor = graph.loaded.declared.model, graph.loaded.predictor
    described = predictor.head.predictions() if predictor is not None else {}
    return {
        "family": model.family,
        "task": predictor.head.task if predictor is not None else "",
        "columns": [{"name": name, "unit": units.get(name, "")} for name in graph.reads.columns],
        "outputs": {
            name: {"per": each.per, "columns": each.columns, "unit": each.unit}
            for name, each in described.items()
        },
        "weights_sha256": graph.loaded.declared.weights.sha256,
    }


def _various(part: Part) -> list[int]:
    """Return some events of as different numbers of points as there are, the longest last."""
    sizes = part.events.sizes
    order = sizes.argsort(kind="stable")[::-1]
    some: list[int] = order[:: max(1, len(order) // EVENTS)][:EVENTS].tolist()
    return some[::-1]


def _range(points: Sequence[int]) -> str:
    return f"{min(points)} to {max(points)}"


def _needed() -> None:
    """Check that what writes and runs graphs is installed.

    Raises:
        BadInput: It is not.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        message = f"{error.name} is not installed. Type: pip install 'cosmotron[onnx]'"
        raise BadInput(message) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code of the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("events", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--store", type=Path)
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # of what torch's exporter leaves out, which none needs
    try:
        print(write(given.folder, given.events, given.file, given.split, given.store))
    except Exception as error:  # noqa: BLE001 - any error becomes a message and an exit code
        failure = classify(error, where=str(given.file))
        if not failure.is_foreseen:
            print_traceback(error)
        print(failure.message, file=sys.stderr)
        return failure.code
    return Exit.FINISHED


if __name__ == "__main__":
    raise SystemExit(main())
