"""A whole campaign at the size of a test: a runner, and what a run amounts to, bit for bit."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

TINY = Path(__file__).parent / "campaigns" / "tiny.toml"
SMALL_PRETRAINING = """
[models.m]
family = "fm4npp-mamba2"
width = 32
layers = 2
neighbours = 3

[pretrain]
dataset = "ours"
models = ["m"]
events = [4]

[pretrain.training]
events_seen = 8
batch_events = 4
learning_rate = 2e-3
checkpoint_events = 8
walltime_minutes = 5
"""
HASHED = ("weights_sha256", "predictions_sha256", "store_sha256", "scores")


def command(root: Path, site: str = "local", campaign: Path = TINY) -> list[str]:
    """The command line that runs a campaign below `root`."""
    words = [sys.executable, "-m", "pipeline", "run", str(campaign), "--site", site, "--yes"]
    return [*words, "--root", str(root), "--project", "m4722"]


def run_campaign(
    root: Path, site: str = "local", campaign: Path = TINY
) -> subprocess.CompletedProcess[str]:
    """Run a campaign, the tiny one if no other is given, to its end."""
    return subprocess.run(
        command(root, site, campaign), capture_output=True, text=True, check=False, timeout=600
    )


def with_modes(folder: Path, *modes: str) -> Path:
    """Write the tiny campaign with only these `modes` of fine-tuning; return its path.

    A task of it is the same task as in the whole campaign, so that its results must be the same.
    """
    campaign = tomllib.loads(TINY.read_text())
    campaign["finetune"]["tracking"]["modes"] = list(modes)
    path = folder / TINY.name
    path.write_text(tomli_w.dumps(campaign))
    return path


def fingerprint(root: Path, name: str = "tiny") -> dict[str, Any]:
    """Return the hashes and numbers of a run of a campaign: its results, bit for bit."""
    found: dict[str, Any] = {}
    run = root / name
    for manifest in sorted(run.glob("data/*.zarr/manifest.json")):
        shards = json.loads(manifest.read_text())["shards"]
        found[manifest.parent.name] = [shard["files"] for shard in shards]
    for result in sorted(run.glob("*/*/result.json")):
        numbers = json.loads(result.read_text())
        kept = {name: numbers[name] for name in HASHED if name in numbers}
        if kept:
            found[str(result.parent.relative_to(run))] = kept
    return found


def of_modes(found: dict[str, Any], *modes: str) -> dict[str, Any]:
    """Return what a fingerprint of the tiny campaign holds of one with only these `modes`."""
    return {
        name: kept
        for name, kept in found.items()
        if not name.startswith(("finetune/", "evaluate/"))
        or any(f"-{mode}-" in name for mode in modes)
    }
