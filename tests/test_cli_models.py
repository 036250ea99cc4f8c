"""`cosmotron models`: every family and size, without torch."""

import importlib.util
import json
import subprocess
import sys

from pipeline.families import FAMILIES, TOKENIZERS


def models(*words):
    command = [sys.executable, "-m", "pipeline", "models", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_lists_every_family_and_every_size():
    rows = json.loads(models("--json").stdout)
    listed = {(row["family"], row["size"]) for row in rows}
    known = FAMILIES | TOKENIZERS
    assert listed == {(name, size) for name, each in known.items() for size in each.SIZES}
    assert all(row["trained"] > 0 and row["flops_per_token"] > 0 for row in rows)


def test_counts_and_price_stand_in_a_table():
    shown = models("fm4npp-mamba2").stdout
    assert "FM4NPP with Mamba2 layers" in shown
    (row,) = (line.split() for line in shown.splitlines() if line.startswith("m6 "))
    assert row[1:3] == ["174,685,722", "98,304"]


def test_it_says_what_holds_a_family_to_its_source():
    """A family with a map of the authors' names is held to the outputs of their code."""
    known = FAMILIES | TOKENIZERS
    held = {row["family"] for row in json.loads(models("--json").stdout) if row["held_to"]}
    maps = {name: kind.__module__.replace(".spec", ".published") for name, kind in known.items()}
    assert held == {name for name, module in maps.items() if importlib.util.find_spec(module)}
    assert "held to the outputs of weaver-core" in models("particlenet").stdout
    assert "our reading of the source" in models("pointgpt").stdout


def test_an_unknown_family_is_told_the_known_ones():
    ended = models("fm4")
    assert ended.returncode == 2
    assert "No family named 'fm4'. Known: " in ended.stderr
    assert ", ".join((*FAMILIES, *TOKENIZERS)) in ended.stderr


def test_it_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pipeline.__main__ import main; sys.argv = ['cosmotron', 'models']; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "m6" in ended.stdout
