"""The rows: what a campaign of months goes through, one after the other.

Each is a row of a table in docs/changing-a-campaign.md.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from two_users import GRACE, GROUP, becoming

from months.bed import Bed
from months.check import Row
from pipeline import catalog

TRAINED = (r"pretrain/.*", r"finetune/.*", r"evaluate/.*")
TUNED = (r"finetune/.*", r"evaluate/.*")
KILL_AFTER_SECONDS = 6.0


def training(bed: Bed) -> dict[str, Any]:
    """The declaration of the pretraining."""
    return bed.content["pretrain"]["training"]  # type: ignore[no-any-return]


def tuning(bed: Bed) -> dict[str, Any]:
    """The declaration of the fine-tuning."""
    return bed.content["finetune"]["tracking"]  # type: ignore[no-any-return]


def nothing(bed: Bed) -> None:
    """Type it again."""


def more_time(bed: Bed) -> None:
    training(bed)["walltime_minutes"] = 2
    tuning(bed)["training"]["walltime_minutes"] = 2


def other_execution(bed: Bed) -> None:
    how = {"micro_events": 2, "threads": 1, "checkpoint_events": 8, "keep_checkpoints": 3}
    training(bed).update(how)


def describe(bed: Bed) -> None:
    bed.content["description"] = "What it was for."


def add_labels(bed: Bed) -> None:
    tuning(bed)["labels"] = [2, 4]


def add_mode(bed: Bed) -> None:
    tuning(bed)["modes"] = ["frozen", "scratch"]


def remove_mode_and_labels(bed: Bed) -> None:
    tuning(bed)["modes"], tuning(bed)["labels"] = ["frozen"], [2]


def add_data_size(bed: Bed) -> None:
    bed.content["pretrain"]["events"] = [8, 16]


def remove_data_size(bed: Bed) -> None:
    bed.content["pretrain"]["events"] = [8]


def add_model(bed: Bed) -> None:
    bed.content["models"]["n"] = {**bed.content["models"]["m"], "width": 64}
    bed.content["pretrain"]["models"] = ["m", "n"]


def rename_model(bed: Bed) -> None:
    bed.content["models"]["wide"] = bed.content["models"].pop("n")
    bed.content["pretrain"]["models"] = ["m", "wide"]


def remove_model(bed: Bed) -> None:
    del bed.content["models"]["wide"]
    bed.content["pretrain"]["models"] = ["m"]


def add_seed(bed: Bed) -> None:
    tuning(bed)["seeds"] = [1, 2]


def remove_seed(bed: Bed) -> None:
    del tuning(bed)["seeds"]


def add_simulation(bed: Bed) -> None:
    """It comes before the others by its name."""
    bed.content["simulations"]["a"] = {**bed.content["simulations"]["tracks"]}


def remove_simulation(bed: Bed) -> None:
    del bed.content["simulations"]["a"]


def other_rate(bed: Bed) -> None:
    tuning(bed)["training"]["learning_rate"] = 2e-3


def former_rate(bed: Bed) -> None:
    tuning(bed)["training"]["learning_rate"] = 1e-3


def free_replaced(bed: Bed) -> None:
    shutil.rmtree(bed.run / "replaced")


def longer(bed: Bed) -> None:
    training(bed)["events_seen"] = 12


def too_many_labels(bed: Bed) -> None:
    tuning(bed)["labels"] = [2, 4000]


def corrected_labels(bed: Bed) -> None:
    tuning(bed)["labels"] = [2, 3]


def remove_labels(bed: Bed) -> None:
    tuning(bed)["labels"] = [2]


def older_version(bed: Bed) -> None:
    """What an older version wrote had not the keys that came later, nor said its format."""
    for path in bed.run.glob("*/*/task.toml"):
        lines = path.read_text().splitlines(keepends=True)
        later = r"(format = \d|hang_seconds =|diverged_steps =)"
        kept = [each for each in lines if not re.match(later, each)]
        path.write_text("".join(kept))


def later_version(bed: Bed) -> None:
    """A later version wrote a declaration that this one does not know."""
    for path in bed.run.glob("stage/*/task.toml"):
        path.write_text("format = 99\n" + re.sub(r"(?m)^format = \d+\n", "", path.read_text()))


def this_version(bed: Bed) -> None:
    for path in bed.run.glob("stage/*/task.toml"):
        path.write_text(path.read_text().replace("format = 99", "format = 2"))


def move(bed: Bed) -> None:
    before, bed.root = bed.root, bed.place / "scratch2" / "runs"
    bed.root.parent.mkdir()
    before.rename(bed.root)


def copy(bed: Bed) -> None:
    """As `cp -a` or `rsync -a` does; the first one is not there any longer, as after a purge."""
    before, bed.root = bed.root, bed.place / "copied"
    subprocess.run(["cp", "-a", before, bed.root], check=True)
    shutil.rmtree(before)


def by_relative_path(bed: Bed) -> None:
    bed.root = Path(os.path.relpath(bed.root))


def by_link(bed: Bed) -> None:
    whole, link = bed.root.resolve(), bed.place / "link"
    link.symlink_to(whole)
    bed.root = link


def purge_raw_files(bed: Bed) -> None:
    shutil.rmtree(bed.run / "data" / "collisions", ignore_errors=True)
    for path in (bed.run / "data").iterdir():
        if not path.name.endswith(".zarr"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def purge_checkpoints(bed: Bed) -> None:
    for path in bed.run.glob("*/*/checkpoints"):
        shutil.rmtree(path)


def lose_page(bed: Bed) -> None:
    shutil.rmtree(bed.run / "report")


def lose_records(bed: Bed) -> None:
    """Records of the ledger vanish, and what the message says is typed."""
    records = sorted((bed.run / "ledger").glob("*.json"))
    for path in random.Random(1).sample(records, 2):
        path.unlink()
    refused = bed.type("run", "--yes")
    assert refused.code, "a run went on with a ledger that lacks records"
    assert "--recover" in refused.err, refused.err
    recovered = bed.type("budget", "--recover")
    assert recovered.code == 0, recovered.err


def other_site(bed: Bed) -> None:
    """The campaign goes on at another machine, which has the same file system."""
    declared = tomllib.loads(catalog.find("sites", bed.site).read_text())
    declared["name"] = f"{declared['name']}2"
    path = bed.place / f"{declared['name']}.toml"
    path.write_text(tomli_w.dumps(declared))
    bed.site = str(path)
    tuning(bed)["labels"] = [2, 1]


def first_site(bed: Bed) -> None:
    bed.site = Path(bed.site).stem.removesuffix("2")
    tuning(bed)["labels"] = [2]


def archive_and_restore(bed: Bed) -> None:
    """The run goes to tape; the disk is purged of it; and it comes back at another place."""
    packed = bed.place / "months.tar"
    done = bed.over(bed.run, "archive", "--to", packed)
    assert done.code == 0, done.err
    shutil.rmtree(bed.root.resolve())
    bed.root = bed.place / "restored"
    done = bed.over(packed, "restore", "--to", bed.root)
    assert done.code == 0, done.err


def share_with_group(bed: Bed) -> None:
    bed.environment["COSMOTRON_GROUP"] = str(GROUP)


def another_user(bed: Bed) -> None:
    """Grace, who is in the group, types the commands from here on; root alone can become her."""
    home = bed.place / "home"
    home.mkdir()
    os.chown(home, GRACE, GROUP)
    bed.environment |= {"HOME": str(home), "USER": "grace"}
    bed.before = becoming(GRACE)
    other_rate(bed)


def first_user(bed: Bed) -> None:
    bed.before = ()
    for name in ("HOME", "USER"):
        del bed.environment[name]
    former_rate(bed)


def take_a_shared_store(bed: Bed) -> None:
    """It lies elsewhere, where nobody writes; the campaign takes it by its content."""
    shared = bed.place / "shared.zarr"
    shutil.copytree(bed.run / "data" / "unlabelled.zarr", shared)
    bed.content["datasets"]["unlabelled"] = {"experiment": "sphenix", "store": str(shared)}


def kill_in_the_middle(bed: Bed) -> None:
    """Another mode, and the controller is killed a few seconds after its start."""
    tuning(bed)["modes"] = ["frozen", "full"]
    bed.save()
    line = [sys.executable, "-m", "pipeline", "run", bed.file, "--site", bed.site]
    line += ["--root", bed.root, "--yes"]
    started = subprocess.Popen(
        [*map(str, line)],
        env=bed.whole_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(KILL_AFTER_SECONDS)
    started.send_signal(signal.SIGKILL)
    started.wait()


def more_data(bed: Bed) -> None:
    bed.content["simulations"]["collisions"]["files"] = {"train": 3}
    tuning(bed)["modes"] = ["frozen"]


ROWS = (
    Row("begin", nothing, new=(".*",)),
    Row("type the same command again", nothing),
    Row("give trainings more time", more_time),
    Row("micro-batches, threads, other checkpoints", other_execution),
    Row("describe it", describe),
    Row("add a label count", add_labels, new=TUNED),
    Row("add a mode", add_mode, new=TUNED),
    Row("take both away", remove_mode_and_labels, says="no longer asked"),
    Row("add a data size", add_data_size, new=TRAINED),
    Row("take it away", remove_data_size, says="no longer asked"),
    Row("add a model", add_model, new=TRAINED),
    Row("rename it", rename_model, new=TRAINED, says="no longer asked"),
    Row("take it away", remove_model, says="no longer asked"),
    Row("add a seed", add_seed, new=TUNED),
    Row("take it away", remove_seed, says="no longer asked"),
    Row("add a simulation", add_simulation, new=("simulate/a",)),
    Row("take it away", remove_simulation, says="no longer asked"),
    Row("another learning rate", other_rate, again=TUNED, says="learning_rate 0.001 → 0.002"),
    Row("the former one", former_rate, again=TUNED, says="learning_rate 0.002 → 0.001"),
    Row("free the disk of what was replaced", free_replaced),
    Row("train longer", longer, again=TRAINED, says="training.events_seen 8 → 12"),
    Row(
        "ask for more labels than there are",
        too_many_labels,
        says="labelled.zarr has 4. Ask for fewer",
        refused=True,
    ),
    Row("correct that", corrected_labels, new=TUNED),
    Row("take them away", remove_labels, says="no longer asked"),
    Row("upgrade: declarations of an older version", older_version),
    Row("downgrade: declarations of a later version", later_version, code=2, says="later"),
    Row("upgrade again", this_version),
    Row("move the run", move),
    Row("copy the run", copy),
    Row("name it by a relative path", by_relative_path),
    Row("reach it by a link", by_link),
    Row("purge: raw files", purge_raw_files),
    Row("purge: checkpoints of what is done", purge_checkpoints),
    Row("lose the page", lose_page),
    Row("lose records of the ledger", lose_records),
    Row("go on at another site", other_site, new=TUNED),
    Row("and back", first_site, says="no longer asked"),
    Row("kill -9 in the middle", kill_in_the_middle, new=TUNED),
    Row("more files in a dataset", more_data, again=(".*",), says="collisions"),
    Row("take a store that others share", take_a_shared_store, says="no longer asked"),
    Row("archive it, and restore it", archive_and_restore),
    Row("share it with a group", share_with_group),
    Row("another user drives it on", another_user, again=TUNED),
    Row("and the first one again", first_user, again=TUNED),
)
