"""Print the tests of what changed, for `make quick`: since the last commit, or since a given one.

A test file is of a changed module if it imports it, or is changed itself.

Example: python tests/changed.py main
"""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def changed(since: str) -> list[Path]:
    """Return the Python files that differ from the commit `since`, new ones too."""
    git = ["git", "-C", str(ROOT)]
    differ = subprocess.run(
        [*git, "diff", "--name-only", since], capture_output=True, text=True, check=True
    )
    new = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = differ.stdout.splitlines() + new.stdout.splitlines()
    return [Path(name) for name in names if name.endswith(".py") and (ROOT / name).is_file()]


def module_of(path: Path) -> str:
    """Return the dotted name of a file of the package, or the name by which tests import it."""
    if path.parts[0] == "tests":
        return path.stem
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    """Return the names of modules that a test file may mean by its imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return names


def tests_of(files: list[Path]) -> list[str]:
    """Return the test files, relative to the checkout, that import one of `files` or are one."""
    modules = {module_of(path) for path in files}
    found = {
        path.relative_to(ROOT)
        for path in (ROOT / "tests").rglob("test_*.py")
        if imported(path) & modules
    }
    found |= {path for path in files if path.name.startswith("test_")}
    return sorted(str(path) for path in found)


if __name__ == "__main__":
    print("\n".join(tests_of(changed(sys.argv[1] if len(sys.argv) > 1 else "HEAD"))))
