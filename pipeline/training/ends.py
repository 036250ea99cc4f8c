"""What ended a program, by its error: the class, and what to say of it."""

import errno
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.catalog import Declaration, DeclarationError
from pipeline.data.errors import BadInput
from pipeline.run import CODES, Exit, RunError

CLASSES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((BadInput, DeclarationError), "bad_input"),
    ((FloatingPointError,), "diverged"),
    ((RunError,), "damaged"),
)
# An allocation that failed has no type of its own in torch on CPUs, nor in what C++ throws.
NO_MEMORY = ("can't allocate memory", "not enough memory", "cannot allocate memory", "bad_alloc")
LOST = (
    *("gloo", "connection closed by", "connection reset by", "connection refused", "broken pipe"),
    *("nccl communicator was aborted", "remote process exited", "socket timeout"),
)
LOST_TYPES = ("DistBackendError", "DistNetworkError", "DistStoreError")


@dataclass(frozen=True)
class End:
    """How a program ended: its class, as `result.json` has it, and the message there."""

    outcome: str
    message: str

    @property
    def code(self) -> Exit:
        """The exit code of the class."""
        return CODES[self.outcome]


def classified(error: Exception, task: Declaration | None = None, processes: int = 1) -> End:
    """Return the end that `error` is, of a link of `task` with so many `processes`."""
    text = str(error)
    for kinds, outcome in CLASSES:
        if isinstance(error, kinds):
            return End(outcome, text)
    if is_out_of_memory(error):
        return End("out_of_memory", _memory(error, task, processes))
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in (errno.ENOSPC, errno.EDQUOT):
        message = f"No space left for {error.filename}. Free some, then run again: it resumes."
        return End("disk_full", message)
    if isinstance(error, OSError) and number in (errno.EACCES, errno.EROFS):
        return End("cannot_write", f"No permission to write {error.filename}.")
    if processes > 1 and is_peer_lost(error):
        message = (
            "Another process of this link ended without a word: killed, perhaps for the memory of "
            f"its node, or its node was lost. The log says more. ({_line(text)})"
        )
        return End("peer_lost", message)
    return End("error", f"{type(error).__name__}: {error}")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether `error` says that memory ran out, on a device or in the node."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)


def is_peer_lost(error: Exception) -> bool:
    """Return whether `error` is of a connection to another process, which has ended."""
    text = str(error).lower()
    words = isinstance(error, RuntimeError | ConnectionError) and any(w in text for w in LOST)
    return words or type(error).__name__ in LOST_TYPES


def _memory(error: Exception, task: Declaration | None, processes: int) -> str:
    """Return what was too big, and what to lower."""
    training: Any = getattr(task, "training", None)
    if training is None:
        return f"Out of memory ({_line(str(error))}). Give it a node of more memory."
    model: Any = getattr(task, "model", None)
    share = training.batch_events // processes
    at_once = min(getattr(training, "micro_events", None) or share, share)
    return (
        f"Out of memory ({_line(str(error))}): {_named(model)}, batch_events "
        f"{training.batch_events} over {processes} process(es), {at_once} events at once in each, "
        f"zero {training.zero}, {training.precision}. Lower micro_events, set "
        "activation_checkpointing, raise zero, or ask for more devices: none of them changes what "
        "is trained. A smaller batch_events does."
    )


def _named(model: Any) -> str:
    """Return a model's family, and its size by name or by what makes it."""
    named = getattr(model, "size", None)
    sizes = {key: value for key, value in model.architecture.items() if key != "family"}
    plain = {key: value for key, value in sizes.items() if isinstance(value, int | float)}
    size = named or ", ".join(f"{key} {value}" for key, value in plain.items())
    return f"model {model.family}" + (f" ({size})" if size else "")


def _line(text: str) -> str:
    """Return the first line of `text`, shortened."""
    return (text.strip().splitlines() or ["no more is known"])[0][:160]
