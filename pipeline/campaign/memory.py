"""What to say of a training that does not fit into memory, or did not."""

from typing import Any

from pipeline.catalog import Declaration


def too_big(task: Declaration, processes: int) -> str:
    """Return the settings of `task` that decide its memory over `processes`, and what to lower."""
    training: Any = getattr(task, "training", None)
    if training is None:
        return "Give it a node with more memory."
    share = training.batch_events // processes
    at_once = min(getattr(training, "micro_events", None) or share, share)
    return (
        f"{named(getattr(task, 'model', None))}, batch_events {training.batch_events} over "
        f"{processes} process(es), {at_once} events at once in each, zero {training.zero}, "
        f"{training.precision}. Lower micro_events, set activation_checkpointing, raise zero, or "
        f"ask for more devices: {_same(getattr(task, 'model', None))} A smaller batch_events does."
    )


def _same(model: Any) -> str:
    """Return that nothing of it changes what is trained; or what changes with `micro_events`."""
    together = getattr(model, "taken_together", None)
    but = "" if together is None else f", but that {together.what} is over fewer events at once"
    return f"none of them changes what is trained{but}."


def named(model: Any) -> str:
    """Return a model's family, and its size by name or by the numbers that make it."""
    if model is None:
        return "A model"
    sizes = {
        name: value
        for name, value in model.architecture.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    size = getattr(model, "size", None) or ", ".join(f"{k} {v}" for k, v in sizes.items())
    return f"Model {model.family}" + (f" ({size})" if size else "")
