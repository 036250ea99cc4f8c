"""The laws of the house: what may import what, and the numbers that keep files readable."""

import ast
import graphlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from radon.complexity import cc_visit

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "cosmotron").rglob("*.py")])
HEAVY = (
    "awkward", "deepspeed", "h5py", "matplotlib", "mplhep", "parsl", "pythia8mc", "rocrate",
    "scipy", "sklearn", "torch", "uproot", "zarr",
)  # fmt: skip
# A home folder or another absolute path that exists on one developer's machine only.
DEVELOPERS = re.compile(r"(?<![\w.$}])/(?:home|Users|root)/\w+")
VERBS = (
    "", "simulate", "stage", "plan", "run", "status", "stop", "cancel", "logs", "budget", "report",
    "rehearse", "forecast", "predict", "export", "crate", "campaigns", "archive", "restore",
    "touch", "transfer", "sites list", "sites show", "sites check", "models",
    "data inspect", "data verify", "data plot", "weights import", "weights export",
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


def lint_imports(root):
    """Run import-linter on the package in `root`; return how it ended and what it printed."""
    linter = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "300"}
    ended = subprocess.run(
        [linter, "--no-cache"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def test_the_import_contracts_are_kept():
    code, printed = lint_imports(ROOT)
    assert code == 0, printed


@pytest.fixture
def copy(tmp_path):
    """A copy of the package with its contracts, to plant imports in."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("pipeline", "cosmotron"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def plant(root, module, statement):
    """Add an import to a module of the copy, which may be a new one."""
    path = root / Path(*module.split(".")).with_suffix(".py")
    if path.with_suffix("").is_dir():
        path = path.with_suffix("") / "__init__.py"
    with path.open("a") as stream:
        stream.write(f"\n{statement}\n")


def refused(printed):
    """Return the contracts that import-linter found broken, and each import that it refused."""
    broken = set(re.findall(r"^(.*?) BROKEN", printed, re.MULTILINE))
    return broken, set(re.findall(r"(pipeline[\w.]*) +-> +([\w.]+)", printed))


def rooms(*but):
    """Return the rooms of the package, but for some."""
    found = (path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py"))
    return [f"pipeline.{name}" for name in sorted(found) if name not in but]


TORCH_ROOMS = ("training", "nn", "probing")


@pytest.mark.parametrize(
    ("contract", "statement", "target", "modules"),
    [
        (
            "The login side never imports torch",
            "import torch",
            "torch",
            [f"{room}.planted" for room in rooms(*TORCH_ROOMS)],
        ),
        (
            "A declaration knows no torch, nor the rooms above it",
            "import torch",
            "torch",
            ["pipeline.families.fm4npp.spec", "pipeline.downstream.tracks.spec"],
        ),
        (
            "The torch side is imported by itself alone",
            "from pipeline.families.mpm import module",
            "pipeline.families.mpm.module",
            [f"{room}.planted" for room in rooms(*TORCH_ROOMS)],
        ),
        (
            "Training is started, never imported",
            "from pipeline.training import loader",
            "pipeline.training.loader",
            [f"{room}.planted" for room in rooms("training")],
        ),
        (
            "The door for notebooks is imported by nobody",
            "import cosmotron",
            "cosmotron",
            [f"{room}.planted" for room in rooms()],
        ),
        (
            "Parsl lives in workflow alone",
            "import parsl",
            "parsl",
            [f"{room}.planted" for room in rooms("workflow")],
        ),
        (
            "DeepSpeed lives in the engine alone",
            "import deepspeed",
            "deepspeed",
            [f"{room}.planted" for room in rooms()] + ["pipeline.training.steps.planted"],
        ),
    ],
)  # fmt: skip
def test_a_forbidden_import_is_refused(copy, contract, statement, target, modules):
    for module in modules:
        plant(copy, module, statement)
    code, printed = lint_imports(copy)
    broken, imports = refused(printed)
    assert code != 0
    assert contract in broken
    assert {(module, target) for module in modules} <= imports


def layers():
    """Return the rooms of each layer as the contract has them, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(each for each in settings["contracts"] if each["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def test_the_layers_in_contributing_are_those_of_the_contract():
    """Write the diagram anew with COSMOTRON_WRITE_GOLDEN=1 after the contract has changed."""
    page = ROOT / "CONTRIBUTING.md"
    begin, end = "<!-- layers -->\n", "<!-- /layers -->"
    drawn = "\n".join(" │ ".join(layer) for layer in layers())
    before, _, rest = page.read_text().partition(begin)
    shown, _, after = rest.partition(end)
    wanted = f"\n```\n{drawn}\n```\n\n"
    if os.environ.get("COSMOTRON_WRITE_GOLDEN"):
        page.write_text(f"{before}{begin}{wanted}{end}{after}")
        return
    assert shown == wanted


def test_no_layer_imports_the_one_above_it(copy):
    planted = []
    for above, below in zip(layers(), layers()[1:], strict=False):
        for room in below:
            planted.append((f"pipeline.{room}", f"pipeline.{above[0]}"))
            plant(copy, planted[-1][0], f"import {planted[-1][1]}")
    code, printed = lint_imports(copy)
    broken, imports = refused(printed)
    assert code != 0
    assert "Imports point downwards" in broken
    assert set(planted) <= imports


def test_a_room_that_no_layer_names_is_refused(copy):
    (copy / "pipeline" / "attic").mkdir()
    plant(copy, "pipeline.attic.__init__", "import pipeline.clock")
    code, printed = lint_imports(copy)
    assert code != 0
    assert "attic" in printed


def test_torch_distributed_lives_in_the_engine_alone(copy):
    statements = [
        "import torch.distributed",
        "from torch import distributed",
        "from torch.distributed import all_reduce",
        "import torch\n\ntorch.distributed.barrier()",
    ]
    rooms = [*rooms_beside_the_engine()]
    planted = [copy / room / f"planted_{n}.py" for room in rooms for n in range(len(statements))]
    for path, statement in zip(planted, statements * len(rooms), strict=True):
        path.write_text(f"{statement}\n")
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--no-cache", "--select", "TID251"]
    ended = subprocess.run(
        [*ruff, "--output-format", "concise", "pipeline", "cosmotron"],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert {line.partition(":")[0] for line in ended.stdout.splitlines() if "TID251" in line} == {
        str(path.relative_to(copy)) for path in planted
    }


def rooms_beside_the_engine():
    """Return the folders of the package in which torch.distributed is not to be used."""
    folders = {path.parent.relative_to(ROOT) for path in FILES}
    return sorted(str(folder) for folder in folders if folder.name != "engine")


def module_of(path):
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports_of(path):
    """Return the modules that a file imports, inside functions and for types too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & MODULES - {module_of(path)}


def test_no_module_imports_itself_by_way_of_others():
    graphlib.TopologicalSorter({module_of(path): imports_of(path) for path in FILES}).prepare()


def test_the_command_line_loads_nothing_heavy():
    code = "import sys, pipeline.cli; print(*(name for name in sys.modules if '.' not in name))"
    assert not set(HEAVY) & set(python(code).split())


def test_the_command_line_builds_no_declaration_before_a_verb_needs_it():
    code = "import sys, pipeline.cli; print(*sys.modules)"
    loaded = {name for name in python(code).split() if name.startswith("pipeline.")}
    assert not loaded & {"pipeline.campaign", "pipeline.families", "pipeline.scheduler"}


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
    assert {path: size for path, size in sizes.items() if size > 450} == {}
    assert statistics.median(sizes.values()) <= 110


def test_functions_are_small():
    sizes = {
        f"{path}:{node.name}": node.end_lineno - node.lineno + 1
        for path, node in functions()
        if node.end_lineno
    }
    assert {name: size for name, size in sizes.items() if size > 60} == {}
    assert statistics.median(sizes.values()) <= 10
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= 20


def test_functions_are_simple():
    """No function has a cyclomatic complexity above 12, as radon counts it."""
    complex_ones = [
        f"{path.relative_to(ROOT)}:{block.lineno} {block.name}: {block.complexity}"
        for path in FILES
        for block in cc_visit(path.read_text())
        if block.letter in "FM" and block.complexity > 12
    ]
    assert complex_ones == []


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
    names_of_packages = (
        "benchmarks",
        "months",
        "soak",
        "golden",
        "memory",
        "additions/family",
        "additions/task",
    )
    packages = {ROOT / "tests" / name for name in names_of_packages}
    names = [
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if path.parent not in packages and path.name != "conftest.py"
    ]
    assert sorted(set(names)) == sorted(names)
