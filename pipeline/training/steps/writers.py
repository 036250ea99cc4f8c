"""Copies of a training's metrics for other tools: TensorBoard, and W&B offline.

`metrics.jsonl` is always written and is the reference.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pipeline.data.errors import BadInput
from pipeline.writing import write_text

RUN_ID = "run-id.txt"


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

    def __init__(self, folder: Path, step: int) -> None:
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
    """An offline run in `<task>/wandb` with one id for all links; `wandb sync` uploads it.

    Each link writes its own folder there. If two of them have the same step, W&B keeps the one that
    is uploaded first, so upload the folders in order.
    """

    def __init__(self, folder: Path, step: int) -> None:
        del step  # W&B knows it from the steps themselves
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, x_disable_meta=True, x_disable_stats=True
        )
        self.run: Any = wandb.init(
            project="cosmotron",
            name=f"{folder.parent.name}/{folder.name}",
            id=_run_id(folder / "wandb" / RUN_ID),
            resume="allow",
            dir=str(folder),
            mode="offline",
            settings=settings,
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log the numbers."""
        self.run.log(dict(numbers), step=step)

    def flush(self) -> None:
        """Do nothing: the process of W&B writes continuously."""

    def close(self) -> None:
        """End the run of this link."""
        self.run.finish()


WRITERS: Mapping[str, type[TensorBoard] | type[WandB]] = {
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


def opened(names: Sequence[str], folder: Path, step: int) -> list[Writer]:
    """Return the writers of the training in `folder`, which continues after `step` steps."""
    return [WRITERS[name](folder, step) for name in names]


def _run_id(path: Path) -> str:
    """Return the id in `path`, which the first link creates."""
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text()
