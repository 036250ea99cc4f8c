"""Copies of a training's metrics for other tools: TensorBoard and W&B.

`metrics.jsonl` is always written and is the reference.
"""

import os
import re
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pipeline.data.errors import BadInput
from pipeline.training.steps import wandb_server
from pipeline.writing import write_text

RUN_ID = "run-id.txt"
WAIT_SECONDS = 60  # for a server that does not answer, at the start and at the end of a link


class Writer(Protocol):
    """Copies the metrics of each step to another tool."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Copy the metrics of one step."""

    def flush(self) -> None:
        """Flush to disk, as far as the tool supports it."""

    def close(self) -> None:
        """Write the rest and close."""


class TensorBoard:
    """Scalars in `<task>/tensorboard`; a resume purges the steps that it repeats."""

    def __init__(self, folder: Path, step: int, about: Mapping[str, Any]) -> None:
        del about  # it has no place for settings
        from torch.utils.tensorboard import SummaryWriter

        purge = step + 1 if step else None
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add each number as a scalar."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Flush the scalars to disk."""
        self.writer.flush()

    def close(self) -> None:
        """Write the rest."""
        self.writer.close()


class WandB:
    """A run of W&B with one id for all links, grouped with those that differ in the seed alone.

    It is live where this node reaches the server and has a key for it; else it is offline in
    `<task>/wandb`, from where `wandb sync` uploads it. A resume repeats steps: W&B keeps those that
    it has.
    """

    def __init__(self, folder: Path, step: int, about: Mapping[str, Any]) -> None:
        del step  # W&B knows it from the steps themselves
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        campaign, stage, task = folder.parts[-3:]
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            finish_timeout=WAIT_SECONDS,
            init_timeout=WAIT_SECONDS,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or campaign,
            group=re.sub(r"-s\d+$", "", task),
            job_type=stage,
            name=f"{stage}/{task}",
            config=dict(about),
            id=_run_id(folder / "wandb" / RUN_ID),
            resume="allow",
            dir=str(folder),
            mode=None if os.environ.get("WANDB_MODE") else wandb_server.mode(),
            settings=settings,
        )
        self.first = self.run.starting_step

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers, unless an earlier link has logged this step."""
        if step >= self.first:
            self.run.log(dict(numbers), step=step)

    def flush(self) -> None:
        """Do nothing: the process of W&B writes continuously."""

    def close(self) -> None:
        """End the run of this link."""
        self.run.finish()


class Optional:
    """A writer whose failure ends the copy, and not the training."""

    def __init__(self, name: str, opens: Callable[[], Writer]) -> None:
        self.name = name
        self.writer: Writer | None = None
        with self._going_on():
            self.writer = opens()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Copy the metrics of one step."""
        with self._going_on():
            if self.writer is not None:
                self.writer.write(step, numbers)

    def flush(self) -> None:
        """Flush to disk."""
        with self._going_on():
            if self.writer is not None:
                self.writer.flush()

    def close(self) -> None:
        """Write the rest and close."""
        with self._going_on():
            if self.writer is not None:
                self.writer.close()

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # another tool's: whatever it is, we go on
            self.writer = None
            print(f"writers: no more copies for {self.name}: {error!r}", file=sys.stderr)


WRITERS: Mapping[str, Callable[[Path, int, Mapping[str, Any]], Writer]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


def check(names: Sequence[str]) -> None:
    """Check that the packages of the writers are installed.

    Raises:
        BadInput: One is not.
    """
    for name in names:
        if find_spec(name) is None:
            message = (
                f"writers: {name} is not installed here. Type: pip install 'cosmotron[tracking]' "
                f"(or {name} alone), or leave {name!r} out of training.writers."
            )
            raise BadInput(message)


def opened(names: Sequence[str], folder: Path, step: int, about: Mapping[str, Any]) -> list[Writer]:
    """Return the writers of the training in `folder`, which continues after `step` steps.

    `about` are its settings, for tools that show them.
    """
    return [Optional(name, partial(WRITERS[name], folder, step, about)) for name in names]


def _run_id(path: Path) -> str:
    """Return the id in `path`, which the first link creates."""
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text()
