"""Files of checkpoints: hashed by who wrote them, and read as data."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("deepspeed")

from ranks import pretraining, result, run, start

from pipeline.data.errors import BadInput
from pipeline.outcome import Exit, classify
from pipeline.training.engine import checkpoint
from pipeline.training.engine.state_files import StateFiles, read

STEPS, BATCH_EVENTS = 4, 4


class Touches:
    """What touches a file when it is loaded from a pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def poisoned(sealed, name, touched):
    """Put a pickle that makes the folder `touched` into a file of a checkpoint; seal it anew."""
    (path,) = sealed.rglob(name)
    content = torch.load(path, weights_only=False)
    torch.save({**content, "more": Touches(touched)}, path)
    manifest = json.loads((sealed / checkpoint.MANIFEST).read_text())
    del manifest[checkpoint.SEAL]
    manifest["files"][str(path.relative_to(sealed))] = checkpoint.file_hash(path)
    manifest[checkpoint.SEAL] = checkpoint._seal(manifest)
    (sealed / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    assert checkpoint.verify(sealed) == STEPS * BATCH_EVENTS
    return path


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    """A short training under ZeRO 1 with an average of its weights."""
    folder = pretraining(
        tmp_path_factory.mktemp("finished") / "task",
        store,
        events_seen=STEPS * BATCH_EVENTS,
        checkpoint_events=BATCH_EVENTS,
        zero=1,
        ema_events=20,
    )
    assert run(folder, size=1) == Exit.FINISHED
    return folder


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        ("*_model_states.pt", 1),
        ("*_optim_states.pt", 1),
        ("ema.pt", 1),
        ("*_optim_states.pt", 2),  # read by ourselves, not by DeepSpeed
    ],
)
def test_a_checkpoint_that_would_run_code_is_refused(finished, tmp_path, name, processes):
    folder = type(finished)(tmp_path / "task")
    shutil.copytree(finished.path, folder.path)
    folder.done.unlink()
    (newest, _) = checkpoint.newest(folder.checkpoints)
    path = poisoned(newest, name, tmp_path / "touched")
    code = run(folder, size=processes)
    assert not (tmp_path / "touched").exists()
    assert code == Exit.BAD_INPUT
    ended = result(folder)
    assert ended["outcome"] == "bad_input"
    assert (
        f"{path}: not loaded, since it asks for more than tensors and numbers" in ended["message"]
    )
    assert "mkdir" in ended["message"]
    assert f"Remove {newest} and run again" in ended["message"]


def test_what_the_message_advises_goes_on_from_the_one_before(finished, tmp_path):
    folder = type(finished)(tmp_path / "task")
    shutil.copytree(finished.path, folder.path)
    folder.done.unlink()
    (newest, _) = checkpoint.newest(folder.checkpoints)
    shutil.rmtree(newest)
    assert run(folder, size=1) == Exit.FINISHED
    assert result(folder)["weights_sha256"] == result(finished)["weights_sha256"]


def test_a_file_that_is_none_of_torchs_is_refused(tmp_path):
    (tmp_path / "step-1").mkdir()
    path = tmp_path / "step-1" / "ema.pt"
    path.write_bytes(b"cos\nmkdir\n(S'" + str(tmp_path / "touched").encode() + b"'\ntR.")
    with pytest.raises(BadInput, match=r"ema.pt: not loaded"):
        read(path)
    assert not (tmp_path / "touched").exists()


def test_a_file_is_hashed_while_it_is_written(tmp_path):
    files = StateFiles()
    path = tmp_path / "a.pt"
    files.save({"weights": torch.arange(1000.0)}, path)
    assert files.hashes == {path: checkpoint.file_hash(path)}
    assert torch.equal(read(path)["weights"], torch.arange(1000.0))
    files.begin()
    assert files.hashes == {}


def test_a_full_disk_is_told_as_such():
    with pytest.raises(OSError, match="No space left") as caught:
        StateFiles().save({"weights": torch.zeros(1000)}, Path("/dev/full"))
    assert caught.value.filename == "/dev/full"
    assert classify(caught.value).outcome.name == "disk_full"


def test_each_process_hashes_what_it_wrote_and_the_first_reads_nothing_back(tmp_path):
    command = [sys.executable, str(Path(__file__).parent / "sealed_files.py"), str(tmp_path)]
    ranks = start(command, size=2, log=tmp_path / "log.txt")
    assert [rank.wait(120) for rank in ranks] == [0, 0], (tmp_path / "log.txt").read_text()
    one, other = (json.loads((tmp_path / f"rank-{n}.json").read_text()) for n in range(2))
    assert "mp_rank_00_model_states.pt" in one["wrote"]
    assert "ema.pt" in one["wrote"]
    assert other["wrote"] == ["zero_pp_rank_1_mp_rank_00_optim_states.pt"]
    assert all(name.endswith(".py") for name in one["read"])  # DeepSpeed's own scripts
    assert other["read"] == []
    assert checkpoint.newest(tmp_path / "checkpoints") is not None
