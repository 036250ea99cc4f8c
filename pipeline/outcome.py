"""The one table of outcomes: every class of end, its exit code, and what follows from it.

A new class of failure is one row here. An exception class of ours names its row in an attribute
`outcome`; other errors are recognised by the row's types, numbers and phrases, so this module
imports none of them, torch least of all.
"""

import errno
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from pipeline.masking import masked


class Exit(IntEnum):
    """Exit codes of our programs; 85 asks for another link, the others follow sysexits.h."""

    FINISHED = 0
    FAILED = 1
    USAGE = 2
    BAD_INPUT = 65
    CANNOT_WRITE = 73
    IO_ERROR = 74
    BUSY = 75
    CONTINUE = 85
    DIVERGED = 86
    HANG = 87
    OUT_OF_MEMORY = 88
    PEER_LOST = 89
    SUPERSEDED = 90


class Retry(StrEnum):
    """Whether a chain submits another link after this end; the value is the word for the docs."""

    NEVER = "ends"
    ALWAYS = "goes on"
    ONCE = "goes on once; two in a row end it"
    IF_SAVED = "goes on if there is a new checkpoint"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One class of end.

    `code` is how our programs exit with it; None where none of them was left to exit. `retry` says
    whether the chain goes on, `elsewhere` whether the next job avoids the nodes of this one, and
    `forgiven` that a link which made progress does not count towards the most that a chain may
    have: others ended it. `outside` is that the cause is neither the task nor the job: who runs the
    campaign again has removed it. An `echo` is the end of a process that only lost another one, or
    does not know better: what was recorded or is known of the cause counts more. `lost_to` names it
    in the accounts of node-hours. `message` is made of the error's `text`, its first `line`, its
    `type`, and of a system error the `path` and `reason`; `advice` is what the user does.

    The rest is how the end is recognised: the scheduler's `state`, the names of an error's `types`,
    the system's `errnos`, `phrases` in the message of a RuntimeError or ConnectionError. One with
    `peers` can only be where there are other processes.
    """

    name: str
    code: Exit | None = None
    means: str
    advice: str = ""
    retry: Retry = Retry.NEVER
    elsewhere: bool = False
    echo: bool = False
    forgiven: bool = False
    outside: bool = False
    lost_to: str = ""
    message: str = "{text}"
    state: str = ""
    types: tuple[str, ...] = ()
    errnos: tuple[int, ...] = ()
    phrases: tuple[str, ...] = ()
    peers: bool = False

    @property
    def exit_code(self) -> Exit:
        """The code of a program that reports this end, its own or another's."""
        return Exit.FAILED if self.code is None else self.code

    def recognises(self, error: BaseException) -> bool:
        """Whether `error` is of this class, by its type, its number or its message."""
        if {kind.__name__ for kind in type(error).__mro__} & {*self.types}:
            return True
        if isinstance(error, OSError) and error.errno in self.errnos:
            return True
        speaks = isinstance(error, RuntimeError | ConnectionError)
        return speaks and any(phrase in str(error).lower() for phrase in self.phrases)


# Of the rows with one exit code the first is what the code alone means.
ROWS = (
    Outcome(
        name="finished",
        code=Exit.FINISHED,
        means="done",
        echo=True,
    ),
    Outcome(
        name="continue",
        code=Exit.CONTINUE,
        means="saved: walltime or preemption near, or a file `SAVE` or `STOP`",
        advice="Nothing: the next link continues.",
        retry=Retry.ALWAYS,
    ),
    Outcome(
        name="timeout",
        state="timeout",
        means="cut off at the walltime",
        advice="Lower `checkpoint_events`; is the site's signal lead long enough to save?",
        retry=Retry.IF_SAVED,
        lost_to="walltime",
    ),
    Outcome(
        name="preempted",
        state="preempted",
        means="the scheduler took the nodes for other jobs",
        retry=Retry.ALWAYS,
        forgiven=True,
        lost_to="preemption",
    ),
    Outcome(
        name="node_fail",
        state="node_fail",
        means="a node failed",
        retry=Retry.ALWAYS,
        elsewhere=True,
        lost_to="node failure",
    ),
    Outcome(
        name="killed",
        means="a signal from outside, from the kernel for example, and no record",
        advice="If it repeats, look at `dmesg` of the node.",
        retry=Retry.ALWAYS,
        lost_to="kill",
    ),
    Outcome(
        name="out_of_memory",
        code=Exit.OUT_OF_MEMORY,
        state="out_of_memory",
        means="the memory of a device or of the node is exhausted; the message names model and "
        "batch",
        advice="Lower `micro_events`, set `activation_checkpointing`, raise `zero`, or use more "
        "`devices`.",
        lost_to="out of memory",
        message="Out of memory ({line}).",
        types=("MemoryError", "OutOfMemoryError"),
        errnos=(errno.ENOMEM,),
        # an allocation that failed has no type of its own in torch on CPUs, nor in what C++ throws
        phrases=(
            *("can't allocate memory", "not enough memory", "cannot allocate memory"),
            *("bad_alloc", "out of memory"),
        ),
    ),
    Outcome(
        name="peer_lost",
        code=Exit.PEER_LOST,
        means="a process lost another one, which left no record",
        advice="As for `killed`.",
        retry=Retry.ALWAYS,
        elsewhere=True,
        echo=True,
        lost_to="lost process",
        message="Another process of this link ended without a record: killed, perhaps for the "
        "memory of its node, or its node was lost. The log says more. ({line})",
        types=("DistBackendError", "DistNetworkError", "DistStoreError"),
        phrases=(
            *("gloo", "connection closed by", "connection reset by", "connection refused"),
            *("broken pipe", "nccl communicator was aborted", "remote process exited"),
            "socket timeout",
        ),
        peers=True,
    ),
    Outcome(
        name="port_taken",
        code=Exit.PEER_LOST,
        means="another program has the port at which the processes of a link were to meet",
        advice="Nothing: the next link takes another port.",
        retry=Retry.ALWAYS,
        lost_to="taken port",
        errnos=(errno.EADDRINUSE,),
    ),
    Outcome(
        name="hang",
        code=Exit.HANG,
        means="no step for `hang_seconds`, or no heartbeat for twice as long",
        advice="Read `logs/stacks-rank-*.txt`: the others wait for the rank that is not in a "
        "collective.",
        retry=Retry.ONCE,
        elsewhere=True,
        lost_to="hang",
    ),
    Outcome(
        name="io_error",
        code=Exit.IO_ERROR,
        means="a file system failed: an input/output error, a stale handle, no answer",
        advice="Look at the file system; then run again: it resumes.",
        retry=Retry.ALWAYS,
        elsewhere=True,  # a stale mount is its node's
        lost_to="file system failure",
        message="{path}: {reason}. {advice}",
        errnos=(
            *(errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO),
            *(errno.ETIMEDOUT, errno.ENOTCONN, errno.ESHUTDOWN, errno.EHOSTDOWN),
        ),
    ),
    Outcome(
        name="diverged",
        code=Exit.DIVERGED,
        means="the loss is NaN or infinite, or rose by more than all that was gained",
        advice="Lower `learning_rate` or `clip_norm`, or lengthen `warmup_events`; then remove the "
        "task's folder.",
        lost_to="divergence",
        types=("FloatingPointError",),
    ),
    Outcome(
        name="bad_input",
        code=Exit.BAD_INPUT,
        means="an input file or a store is not usable",
        advice="Fetch, make or stage it again.",
        lost_to="bad input",
    ),
    Outcome(
        name="usage",
        code=Exit.USAGE,
        means="the command line or a declaration is wrong",
        advice="Correct the file and key that the message names.",
    ),
    Outcome(
        name="busy",
        code=Exit.BUSY,
        means="another process works on this task or run",
        advice="Wait, or end it as the message says.",
    ),
    Outcome(
        name="superseded",
        code=Exit.SUPERSEDED,
        means="another process took over this task or run while this one was silent for two "
        "minutes; it ends and touches nothing",
        advice="Nothing: its successor works. Look at why it was stopped, or its file system slow.",
        retry=Retry.ALWAYS,
        lost_to="process that was taken over",
    ),
    Outcome(
        name="unusable",
        code=Exit.BUSY,
        means="the run folder cannot be used as it is: a damaged file, no checkpoint that verifies",
        advice="Do what the message says.",
        lost_to="damaged files",
    ),
    Outcome(
        name="stopped",
        code=Exit.BUSY,
        means="somebody asked the task or the run to stop",
        advice="`cosmotron stop <campaign> --undo`, then run again.",
    ),
    Outcome(
        name="over_cap",
        code=Exit.BUSY,
        means="the job would exceed the cap of node-hours",
        advice="Raise the cap, or wait until running jobs are charged.",
    ),
    Outcome(
        name="cannot_write",
        code=Exit.CANNOT_WRITE,
        outside=True,
        means="no permission to write, or a file is where a folder should be",
        advice="Get write permission there, or write elsewhere (`run --root`, or another store for "
        "`stage`); then run again.",
        message="{path}: {reason}. {advice}",
        errnos=(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR),
        lost_to="unwritable disk",
    ),
    Outcome(
        name="disk_full",
        code=Exit.CANNOT_WRITE,
        outside=True,
        means="a disk or a quota is full, or will be",
        advice="Make room there, or write elsewhere (`run --root`, or another store for `stage`); "
        "then run again: it resumes.",
        message="{path}: {reason}. {advice}",
        errnos=(errno.ENOSPC, errno.EDQUOT),
        lost_to="full disk",
    ),
    Outcome(
        name="cancelled",
        state="cancelled",
        means="somebody cancelled the job",
        advice="The same command continues.",
        lost_to="cancellation",
    ),
    Outcome(
        name="withdrawn",
        means="the job was cancelled while no controller watched; it does not count as a link",
        retry=Retry.ALWAYS,
    ),
    Outcome(
        name="lost",
        state="unknown",
        means="the scheduler knows nothing of the job",
        advice="The same command continues. If it happens again, ask your operators.",
        retry=Retry.ONCE,
        lost_to="scheduler's loss of the job",
    ),
    Outcome(
        name="error",
        code=Exit.FAILED,
        means="an error that we did not foresee",
        advice="Read the log.",
        echo=True,
        lost_to="error",
        message="{type}: {text}",
    ),
    Outcome(
        name="scheduler",
        code=Exit.FAILED,
        means="the scheduler refused, is not there or does not answer; its own words follow",
        advice="Do what the message says; the same command is safe.",
    ),
)
OUTCOMES = {row.name: row for row in ROWS}
BY_CODE = {row.code: row for row in reversed(ROWS) if row.code is not None}
BY_STATE = {row.state: row for row in ROWS if row.state}


class RunError(RuntimeError):
    """The run folder cannot be used; the message says what to do, `outcome` names the class."""

    outcome: str = "unusable"


class BusyError(RunError):
    """A living process works here already; what it makes is not to be touched."""

    outcome = "busy"


class SupersededError(RunError):
    """Another process has taken over the work of this one, which touches nothing any more."""

    outcome = "superseded"


class NoRoomError(RunError):
    """What is to be written does not fit on its disk."""

    outcome = "disk_full"


@dataclass(frozen=True)
class Failure:
    """How a program failed: the class of the end, and the message for the user.

    Of an error that nobody foresaw the traceback is worth having too.
    """

    outcome: Outcome
    message: str
    is_foreseen: bool = True

    @property
    def code(self) -> Exit:
        """The exit code of the class."""
        return self.outcome.exit_code


def classify(error: BaseException, *, processes: int = 1, where: str = "") -> Failure:
    """Return the class of `error` and what to tell the user, with no secret of an address.

    Args:
        error: Whatever ended the work.
        processes: How many processes work together; a lone one cannot lose another.
        where: The file or folder to name where a system error names none.
    """
    text = str(error)
    own = OUTCOMES.get(str(getattr(error, "outcome", "")))
    if own is not None:
        return Failure(own, masked(text))
    candidates = (row for row in ROWS if processes > 1 or not row.peers)
    row = next((row for row in candidates if row.recognises(error)), OUTCOMES["error"])
    path, reason = where, text
    if isinstance(error, OSError):
        path, reason = _path_of(error) or where or "A file", error.strerror or text
    message = row.message.format(
        text=text,
        line=(text.strip().splitlines() or ["no more is known"])[0][:160],
        type=type(error).__name__,
        path=path,
        reason=reason,
        advice=row.advice.replace("`", ""),
    )
    return Failure(row, masked(message), is_foreseen=row.name != "error")


def _path_of(error: OSError) -> str:
    """Return the file that a system error is about: of a copy, what could not be written."""
    written = error.filename2 if error.errno in OUTCOMES["disk_full"].errnos else None
    return str(written or error.filename or "")


def of_code(code: int | None) -> Outcome:
    """Return what an exit code alone says; a signal, or no code at all, is a kill."""
    if code is None or code > 128 or code < 0:
        return OUTCOMES["killed"]
    return next((row for known, row in BY_CODE.items() if known == code), OUTCOMES["error"])


def of_state(state: str) -> Outcome | None:
    """Return what a scheduler's state of a job alone says; None if it does not tell the cause."""
    return BY_STATE.get(state)


def named(name: str) -> Outcome:
    """Return the row of a recorded name; a name that no row has is an error of unknown cause."""
    return OUTCOMES.get(name, OUTCOMES["error"])
