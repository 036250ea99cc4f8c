"""The files of a checkpoint: written with their hash and synced by the process that knows them.

They are read as data. torch's format is a pickle, and a pickle may run any code when it is loaded;
here it may name tensors, numbers, texts, containers of them, and the few plain records of DeepSpeed
that `_records` lists.
"""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import torch

from pipeline.data.errors import BadInput


class Hashed:
    """A stream that hashes what is written to it: nobody has to read a large file back.

    torch hides the `error` of a full disk behind one of its own.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write `content`; return how many bytes that are."""
        self.digest.update(content)
        try:
            return self.stream.write(content)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Hand on what the stream still holds."""
        self.stream.flush()


class StateFiles:
    """Writes and reads the files of checkpoints; `hashes` are of those written since `begin`."""

    def __init__(self) -> None:
        self.hashes: dict[Path, str] = {}

    def begin(self) -> None:
        """Forget the files of the checkpoint before."""
        self.hashes = {}

    def attach(self, engine: Any) -> None:
        """Let DeepSpeed's `engine` write and read its files so."""
        engine.checkpoint_engine.save = self.save
        engine.checkpoint_engine.load = read

    def save(self, state_dict: Any, path: str | Path) -> None:
        """Write `state_dict` to a new file, wait for the disk, and note its SHA-256.

        Raises:
            OSError: The disk is full or failed.
        """
        with Path(path).open("wb", buffering=0) as stream:
            hashed = Hashed(stream)
            try:
                torch.save(state_dict, hashed)  # type: ignore[arg-type]
            except (OSError, RuntimeError):
                if hashed.error is None:
                    raise
                hashed.error.filename = str(path)
                raise hashed.error from None
            os.fsync(stream.fileno())
        self.hashes[Path(path)] = hashed.digest.hexdigest()


def read(path: str | Path, map_location: Any = None, *, mmap: bool = False) -> Any:
    """Return what is in a file of a checkpoint, and run nothing that is in it.

    With `mmap` a tensor is read when it is used.

    Raises:
        BadInput: The file asks for more than data, or is none of torch's.
    """
    try:
        with torch.serialization.safe_globals(_records()):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        message = (
            f"{path}: not loaded, since it asks for more than tensors and numbers, and may run "
            f"code ({_asked(error)}). Who wrote this checkpoint? Remove {_step(Path(path))} "
            "and run again: the training goes on from the one before."
        )
        raise BadInput(message) from error


def _records() -> list[Any]:
    """Return the classes that DeepSpeed keeps in its states: attributes, and no code of theirs."""
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [LossScaler, ZeroStageEnum, fragment_address]


def _step(path: Path) -> Path:
    """Return the folder of the checkpoint that `path` is in."""
    return next((each for each in path.parents if each.name.startswith("step-")), path)


def _asked(error: Exception) -> str:
    """Return in a few words what a file asked for."""
    lines = str(error).splitlines()
    return next((line.strip() for line in lines if "GLOBAL" in line), lines[0] if lines else "")
