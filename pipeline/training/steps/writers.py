"""The steps of a training in other tools' files: TensorBoard's, and those of W&B, offline.

`metrics.jsonl` is always written and is the truth; these are copies of it for those who like them.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pipeline.data.errors import BadInput
from pipeline.run import write_text

RUN_ID = "run-id.txt"


class Writer(Protocol):
    """What copies the numbers of each step elsewhere."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Copy the numbers of one step."""

    def flush(self) -> None:
        """Bring to disk what was written, as far as the tool lets us."""

    def close(self) -> None:
        """Write the rest, and end."""


class TensorBoard:
    """Scalars in `<task>/tensorboard`; a resume strikes out the steps that it takes again."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - optional

        purge = step + 1 if step else None
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add each number as a scalar."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Bring the scalars to disk."""
        self.writer.flush()

    def close(self) -> None:
        """Write the rest."""
        self.writer.close()


class WandB:
    """An offline run in `<task>/wandb`, of one id for all links; `wandb sync` uploads it.

    Each link leaves a folder of its own there. Of a step in two of them W&B keeps the first that is
    uploaded, so upload them in their order.
    """

    def __init__(self, folder: Path, step: int) -> None:
        del step  # W&B knows it from the steps themselves
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb  # noqa: PLC0415 - optional

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
        """Do nothing: its own process writes as it goes."""

    def close(self) -> None:
        """End the run of this link."""
        self.run.finish()


WRITERS: Mapping[str, type[TensorBoard] | type[WandB]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


def check(names: Sequence[str]) -> None:
    """Check that what the writers need is installed.

    Raises:
        BadInput: It is not.
    """
    for name in names:
        if find_spec(name) is None:
            message = (
                f"writers: {name} is not installed here. Type: pip install 'cosmotron[tracking]' "
                f"(or {name} alone), or leave {name!r} out of training.writers."
            )
            raise BadInput(message)


def opened(names: Sequence[str], folder: Path, step: int) -> list[Writer]:
    """Return the writers of the training in `folder`, which goes on after `step` steps."""
    return [WRITERS[name](folder, step) for name in names]


def _run_id(path: Path) -> str:
    """Return the id in `path`, made at the first link."""
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text()
