"""Two campaigns at once on the stores of a third make what it made, and write nothing there."""

import threading
import tomllib
from pathlib import Path

import pytest
import tomli_w
from whole_campaign import TINY, fingerprint, of_modes, run_campaign

pytest.importorskip("deepspeed")


def on_stores(folder: Path, stores: Path) -> Path:
    """Write the tiny campaign on the `stores` of another run; return its path."""
    content = tomllib.loads(TINY.read_text())
    content["finetune"]["tracking"]["modes"] = ["scratch"]
    del content["simulations"]
    for name in content["datasets"]:
        store = str(stores / f"{name}.zarr")
        content["datasets"][name] = {"experiment": "sphenix", "store": store}
    path = folder / TINY.name
    path.write_text(tomli_w.dumps(content))
    return path


def seen(stores: Path) -> dict[Path, tuple[int, int]]:
    """When each file and folder below `stores` was changed, and its size."""
    found = ((path, path.stat()) for path in (stores, *stores.rglob("*")))
    return {path: (each.st_mtime_ns, each.st_size) for path, each in found}


@pytest.mark.slow
def test_two_campaigns_at_once_make_what_was_made_and_write_nothing_there(
    tmp_path: Path, uninterrupted: Path
) -> None:
    stores = uninterrupted / "tiny" / "data"
    before, file = seen(stores), on_stores(tmp_path, stores)
    roots = [tmp_path / "one", tmp_path / "other"]
    ends: dict[Path, tuple[int, str]] = {}

    def run(root: Path) -> None:
        ended = run_campaign(root, campaign=file)
        ends[root] = ended.returncode, ended.stderr

    threads = [threading.Thread(target=run, args=(root,)) for root in roots]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {code for code, _ in ends.values()} == {0}, ends
    made = of_modes(fingerprint(uninterrupted), "scratch")
    wanted = {key: each for key, each in made.items() if "/" in key and "stage" not in key}
    for root in roots:
        assert fingerprint(root) == wanted
        assert not (root / "tiny" / "stage").exists()
        assert "unlabelled" in (root / "tiny" / "report" / "index.html").read_text()
    assert seen(stores) == before
