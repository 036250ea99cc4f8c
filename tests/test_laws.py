"""The laws of the house: what may import what, and the numbers that keep files readable."""

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "pipeline").rglob("*.py"))
HEAVY = (
    "awkward", "deepspeed", "h5py", "matplotlib", "mplhep", "parsl", "pythia8mc", "rocrate",
    "scipy", "sklearn", "torch", "uproot", "zarr",
)  # fmt: skip
# A home folder or another absolute path that exists on one developer's machine only.
DEVELOPERS = re.compile(r"(?<![\w.$}])/(?:home|Users|root)/\w+")
VERBS = (
    "", "simulate", "stage", "plan", "run", "status", "stop", "cancel", "logs", "budget", "report",
    "rehearse", "forecast", "export", "crate", "campaigns", "sites list", "sites show",
    "sites check", "models", "data inspect", "data verify", "data plot",
)  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


def python(code):
    """Run `code` in a fresh interpreter and return what it prints."""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def functions():
    """Return (file, node) of every function of the package."""
    return [
        (path.relative_to(ROOT), node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Function)
    ]


def lines_of(path):
    """Return the number of lines that are not blank."""
    return sum(1 for line in path.read_text().splitlines() if line.strip())


def tracked():
    """Return the files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout here")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_imports_point_downwards():
    linter = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_the_command_line_loads_nothing_heavy():
    code = "import sys, pipeline.cli; print(*(name for name in sys.modules if '.' not in name))"
    assert not set(HEAVY) & set(python(code).split())


def test_the_command_line_starts_at_once():
    told = "import time; import {}; print(time.process_time())"
    libraries, ours = (
        min(float(python(told.format(names))) for _ in range(3))
        for names in ("typer, pydantic, rich.table, rich.progress", "pipeline.cli")
    )
    assert ours < 4 * libraries


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_shows_an_example(verb):
    command = [sys.executable, "-m", "pipeline", *verb.split(), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Example:" in shown


def test_files_are_small():
    sizes = {path.relative_to(ROOT): lines_of(path) for path in FILES}
    assert {path: size for path, size in sizes.items() if size > 400} == {}
    assert statistics.median(sizes.values()) <= 130


def test_functions_are_small():
    sizes = {
        f"{path}:{node.name}": node.end_lineno - node.lineno + 1
        for path, node in functions()
        if node.end_lineno
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    assert statistics.median(sizes.values()) <= 10
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= 30


def public(scope):
    """Yield the public functions and classes of a module or class, and theirs."""
    for node in scope.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def test_every_public_name_is_documented():
    missing = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in FILES
        for node in public(ast.parse(path.read_text()))
        if not ast.get_docstring(node)
    ]
    assert missing == []


def test_every_module_says_what_it_is():
    undocumented = [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert undocumented == []


def test_no_file_knows_a_developers_machine():
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        if path != Path(__file__)
        for match in DEVELOPERS.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


def test_no_two_files_of_tests_have_one_name():
    """Folders of tests are no packages: of two that share a name one is imported for the other."""
    packages = {ROOT / "tests" / name for name in ("benchmarks", "soak")}
    names = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if path.parent not in packages and path.name != "conftest.py"
    ]
    assert sorted(set(names)) == sorted(names)
