"""What ended a program, by its error: the class, and what to say of it."""

import errno
from dataclasses import dataclass

import torch

from pipeline.campaign import too_big
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
        told = too_big(task, processes) if task is not None else ""
        return End("out_of_memory", f"Out of memory ({_line(text)}). {told}".strip())
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


def _line(text: str) -> str:
    """Return the first line of `text`, shortened."""
    return (text.strip().splitlines() or ["no more is known"])[0][:160]
