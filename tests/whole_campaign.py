"""A whole campaign at the size of a test: a runner, and what a run amounts to, bit for bit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TINY = Path(__file__).parent / "campaigns" / "tiny.toml"
HASHED = ("weights_sha256", "predictions_sha256", "store_sha256", "scores")


def command(root: Path, site: str = "local", campaign: Path = TINY) -> list[str]:
    """The command line that runs a campaign below `root`."""
    words = [sys.executable, "-m", "pipeline", "run", str(campaign), "--site", site, "--yes"]
    return [*words, "--root", str(root), "--project", "m4722"]


def run_campaign(root: Path, site: str = "local") -> subprocess.CompletedProcess[str]:
    """Run the tiny campaign to its end."""
    return subprocess.run(
        command(root, site), capture_output=True, text=True, check=False, timeout=600
    )


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
