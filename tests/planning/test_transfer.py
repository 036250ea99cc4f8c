"""A part of a campaign at another machine: what goes over, and that it arrived."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_results import evaluated
from small_campaign import FULL, PRETRAINED, SCRATCH, STAGED, campaign, finish
from staged_alone import write_sources

from pipeline.campaign import Campaign
from pipeline.campaign.model_folder import WEIGHTS
from pipeline.outcome import Exit, RunError
from pipeline.planning import copying, selection, transfer
from pipeline.planning.transfer import Parcel
from pipeline.records import Trained
from pipeline.run import Run

EVALUATED = FULL.replace("finetune", "evaluate")
Asked = tuple[Campaign, Run]

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync")


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """A campaign whose dataset is staged and whose models are trained; fine-tuning is to do."""
    write_sources(tmp_path / "raw", 3)
    run, found = Run(tmp_path / "runs", "c"), campaign(tmp_path, tmp_path / "raw")
    finish(found.tasks(run), run)
    for key in (PRETRAINED, SCRATCH):
        folder = run.task(key)
        (folder.path / WEIGHTS).write_text("weights")
        (folder.checkpoints / "step-000000000008").mkdir(parents=True)
        (folder.checkpoints / "step-000000000008" / "state.pt").write_text("state")
        folder.logs.mkdir()
        (folder.logs / "a.log").write_text("log")
        folder.finish(Trained(steps=2))
    for key in (FULL, EVALUATED, SCRATCH.replace("finetune", "evaluate")):
        shutil.rmtree(run.task(key).path)
    return found, run


def parcel(asked: Asked, *only: str) -> Parcel:
    found, run = asked
    part = selection.part(found, run, only)
    return transfer.parcel(part, selection.named(part.every_task, found, only), run)


def names(found: Parcel) -> set[str]:
    return {each.path for each in found.files}


def copied(asked: Asked, to: Path, *only: str) -> Run:
    """Send a part to the run folder `to` as the verb does."""
    found = parcel(asked, *only)
    for command in copying.by_rsync(asked[1].path, transfer.write(found, asked[1]), str(to)):
        subprocess.run(command, check=True)
    return Run(to.parent, to.name)


def test_what_a_part_reads_goes_over_with_its_records(asked: Asked) -> None:
    found = parcel(asked, FULL)
    assert found.done == (f"{STAGED}/DONE", f"{PRETRAINED}/DONE")
    sent = names(found)
    assert {f"{PRETRAINED}/{name}" for name in (WEIGHTS, "result.json", "task.toml")} < sent
    assert {"data/ours.zarr/manifest.json", f"{STAGED}/task.toml"} < sent
    assert len([name for name in sent if name.startswith("data/ours.zarr/t")]) > 3
    assert not {name for name in sent if "checkpoints" in name or "logs" in name or "DONE" in name}
    assert not {name for name in sent if name.startswith(SCRATCH)}


def test_of_what_nobody_reads_the_records_alone(asked: Asked) -> None:
    found = parcel(asked, "finetune")
    assert f"{SCRATCH}/{WEIGHTS}" in names(found), "it was named"
    shutil.rmtree(asked[1].store("ours") / "test")
    found = parcel(asked, "pretrain")
    assert f"{PRETRAINED}/{WEIGHTS}" in names(found)
    stored = {name for name in names(found) if name.startswith("data/")}
    described = {"data/ours.zarr/manifest.json", "data/ours.zarr/bins.json"}
    assert stored - described == set()
    assert stored


def test_predictions_go_over_where_their_evaluation_is_named(asked: Asked) -> None:
    found, run = asked
    finish([each for each in found.tasks(run) if each.key in (FULL, EVALUATED)], run)
    run.task(EVALUATED).finish(evaluated({"ari": 0.5}))
    run.task(EVALUATED).predictions.write_text("of every event")
    (run.task(FULL).path / WEIGHTS).write_text("weights")
    assert f"{EVALUATED}/result.json" in names(parcel(asked, FULL, EVALUATED))
    assert f"{EVALUATED}/predictions.parquet" in names(parcel(asked, EVALUATED))
    part = selection.part(found, run, [EVALUATED])
    assert not {each for each in names(transfer.parcel(part, (), run)) if "predictions" in each}


def test_the_other_machine_goes_on_from_there(asked: Asked, tmp_path: Path) -> None:
    there = copied(asked, tmp_path / "far" / "c", "finetune")
    shutil.rmtree(tmp_path / "raw")
    assert transfer.check(there.path).wrong == ()
    part = selection.part(asked[0], there, ["finetune"], elsewhere=True)
    assert [task.key for task in part.to_do] == [FULL]
    assert part.changes[STAGED].meaning == "the same"
    weights = there.task(PRETRAINED).path / WEIGHTS
    assert weights.stat().st_mtime == (asked[1].task(PRETRAINED).path / WEIGHTS).stat().st_mtime


def test_a_damaged_copy_is_told_by_name(asked: Asked, tmp_path: Path) -> None:
    there = copied(asked, tmp_path / "far" / "c", "finetune")
    (there.task(PRETRAINED).path / WEIGHTS).write_text("weightz")
    (there.task(SCRATCH).path / WEIGHTS).write_text("weig")
    there.task(PRETRAINED).declaration.unlink()
    assert set(transfer.check(there.path).wrong) == {
        f"{PRETRAINED}/{WEIGHTS}: not what was sent (SHA-256 differs)",
        f"{SCRATCH}/{WEIGHTS}: 4 bytes in place of 7",
        f"{PRETRAINED}/task.toml: missing",
    }


def test_what_is_there_is_not_overwritten_and_a_second_part_is_verified_too(
    asked: Asked, tmp_path: Path
) -> None:
    there = copied(asked, tmp_path / "far" / "c", "pretrain")
    (there.task(PRETRAINED).path / WEIGHTS).write_text("trained there")
    copied(asked, there.path, "finetune")
    assert len(list(there.path.glob("transfer/*.json"))) == 2
    assert (there.task(PRETRAINED).path / WEIGHTS).read_text() == "trained there"
    (line,) = transfer.check(there.path).wrong
    assert line == f"{PRETRAINED}/{WEIGHTS}: 13 bytes in place of 7"


def test_what_has_begun_stays_here(asked: Asked) -> None:
    found, run = asked
    run.task(SCRATCH).done.unlink()
    assert parcel(asked, "finetune").begun == (SCRATCH,)
    shutil.rmtree(run.path)
    with pytest.raises(RunError, match="nothing of this part is finished here"):
        parcel((found, run), "finetune")


def test_a_product_that_was_purged_cannot_be_sent(asked: Asked) -> None:
    (asked[1].task(SCRATCH).path / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"weights\.safetensors: not there any more"):
        parcel(asked, "finetune")


def test_what_lies_outside_of_the_run_is_named_with_what_to_do(
    cosmotron: Any, asked: Asked, tmp_path: Path
) -> None:
    shared = tmp_path / "shared stores" / "pp.zarr"
    shutil.copytree(asked[1].store("ours"), shared)

    def take(content: dict[str, Any]) -> None:
        content["datasets"]["ours"] = {"experiment": "sphenix", "store": str(shared)}

    taking = campaign(tmp_path, tmp_path / "raw", take)
    assert parcel((taking, asked[1]), FULL).elsewhere == (shared,)
    words = ("transfer", tmp_path / "c.toml", "far:/orion/c", "--root", asked[1].root)
    told = cosmotron(*words, "--site", "local", "--only", FULL)
    assert "what the part reads from outside of the run. Copy it too, unless it is" in told.words
    lines = told.out.splitlines()
    assert f"  {shared}" in lines
    assert lines[-2].endswith(f"partial '{shared}' far:/orion/")
    by_globus = cosmotron(*words, "--site", "local", "--only", FULL, "--globus", "1-2")
    assert f"  {shared}" in by_globus.out.splitlines()
    assert "rsync" not in by_globus.out


def test_no_copy_to_verify(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing was sent here, or not all of it"):
        transfer.check(tmp_path)


def test_the_verb_prints_runs_and_verifies(cosmotron: Any, asked: Asked, tmp_path: Path) -> None:
    words = ("transfer", tmp_path / "c.toml", tmp_path / "far/c", "--root", asked[1].root)
    told = cosmotron(*words, "--site", "local", "--only", FULL)
    assert told.code == 0, told.words
    assert f"of 2 finished task(s): {STAGED}, {PRETRAINED}." in told.words
    assert (
        "rsync --archive --ignore-existing --partial-dir=.rsync-partial --files-from=" in told.out
    )
    assert f"Then verify it there: cosmotron transfer {tmp_path}/far/c --check" in told.words
    assert not (tmp_path / "far").exists()
    assert cosmotron(*words, "--site", "local", "--only", FULL, "--run").code == 0
    told = cosmotron("transfer", tmp_path / "far/c", "--check")
    assert told.code == 0
    assert "are what was sent" in told.words
    (tmp_path / "far/c" / PRETRAINED / WEIGHTS).unlink()
    told = cosmotron("transfer", tmp_path / "far/c", "--check")
    assert told.code == Exit.BAD_INPUT
    assert f"- {PRETRAINED}/{WEIGHTS}: missing" in told.words
    assert "send it again with the same command" in told.words
    assert json.loads(cosmotron("transfer", tmp_path / "far/c", "--check", "--json").out)["wrong"]


def test_another_host_and_globus(
    cosmotron: Any, asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("transfer", tmp_path / "c.toml", "far:/orion/my runs/c", "--root", asked[1].root)
    told = cosmotron(*words, "--site", "local", "--only", FULL)
    assert "cosmotron transfer '/orion/my runs/c' --check" in told.words
    assert told.out.splitlines()[1].startswith("""ssh far 'mkdir -p '"'"'/orion/my runs/c'""")
    found = json.loads(
        cosmotron(*words, "--site", "local", "--only", FULL, "--globus", "1-2", "--json").out
    )
    (command,) = found["commands"]
    assert command[:4] == ["globus", "transfer", f"1-2:{asked[1].path}", "far:/orion/my runs/c"]
    lines = Path(command[command.index("--batch") + 1]).read_text().splitlines()
    assert f"{PRETRAINED}/DONE {PRETRAINED}/DONE" in lines
    assert len(lines) == found["files"] + 1, "the manifest goes over too"
    monkeypatch.setenv("PATH", os.defpath)
    told = cosmotron(*words, "--site", "local", "--only", FULL, "--globus", "1-2", "--run")
    assert told.code == Exit.FAILED
    assert "globus: not found here. Type the commands where it is." in told.words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["runs/c"], "Name the run folder at the destination"),
        (["far:/x/c", "--check"], "Type this on that machine: cosmotron transfer /x/c --check"),
    ],
)
def test_words_that_do_not_fit(cosmotron: Any, words: list[str], message: str) -> None:
    told = cosmotron("transfer", *words)
    assert told.code == Exit.USAGE
    assert message in told.words
