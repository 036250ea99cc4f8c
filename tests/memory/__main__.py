"""Count what small models keep in memory, and write the tables that `plan` predicts with.

python -m tests.memory [FAMILY or TASK ...] [--models 28]
python -m tests.memory --page docs/measured/memory.md

For each family as many models, and for each downstream task as many heads, with numbers drawn at
random run forward and backward here, in single precision and in bfloat16; scans once in plain
PyTorch and once with what mamba-ssm's kernels keep. The bytes for each unit of a term go to
`activations.toml` in the folder of the family or task.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from memory import heads, page
from memory.cases import SETTINGS, drawn, taken
from memory.counting import Counts, counts
from memory.fitting import fitted
from pipeline.downstream import TASKS
from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.families.activations import TABLES, Bytes, Growth

MODELS_ON_PAGE = 6
SCANS = ("fm4npp-mamba", "fm4npp-mamba2", "polarbert")
HEADER = """\
# Bytes for each unit of a term, as `python -m tests.memory` counts them. The columns are those of
# `Bytes` in pipeline/families/activations.py.
"""


def main() -> None:
    """Count the families and downstream tasks that are named, all if none is."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = [*SETTINGS, *heads.SETTINGS]
    parser.add_argument("names", nargs="*", default=known, help="families and downstream tasks")
    parser.add_argument("--models", type=int, default=28)
    parser.add_argument("--page", type=Path, help="write this page, by the tables as they are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.page is not None:
        options.page.write_text(page.written(MODELS_ON_PAGE))
        return
    for name in options.names:
        tables = dict(counted(name, options.models))
        write(name, tables)
        print(f"{folder(name) / TABLES}: {', '.join(tables)}", flush=True)


def counted(name: str, models: int) -> Iterator[tuple[str, Bytes]]:
    """Yield the bytes of each table of a family or a downstream task, of so many models."""
    for on_device in (False, True) if name in SCANS else (False,):
        for half in (False, True):
            grown, found = [], []
            for seed in range(models):
                try:
                    growth, bytes_ = one(name, seed, half=half, on_device=on_device)
                except RuntimeError as error:  # of a model that does not run in bfloat16
                    print(f"{name}: {error}", file=sys.stderr)
                    continue
                if growth is not None:
                    grown.append(growth)
                    found.append(bytes_)
            if found:
                table = ("bf16" if half else "fp32") + ("-kernels" if on_device else "")
                yield table, fitted(grown, found)


def one(name: str, seed: int, *, half: bool, on_device: bool) -> tuple[Growth | None, Counts]:
    """Return what a model or a head grows with, and its bytes; None of one without scans."""
    if name in heads.SETTINGS:
        case = heads.drawn(name, seed)
        return case.grown(), case.counts(half=half)
    model, batch = drawn(name, seed)
    if on_device and getattr(model, "backbone", "mamba") != "mamba":
        return None, Counts(0, 0, 0, 0)
    found = counts(model, batch, half=half, on_device=on_device)
    return model.beside("activations").terms(model, taken(batch, kernels=on_device)), found


def folder(name: str) -> Path:
    """Return the folder of a family or a downstream task."""
    module = sys.modules[{**FAMILIES, **TOKENIZERS, **TASKS}[name].__module__]
    assert module.__file__ is not None
    return Path(module.__file__).parent


def write(family: str, tables: Mapping[str, Bytes]) -> None:
    """Write the tables of a family; those of others in the same folder stay."""
    path = folder(family) / TABLES
    content = tomllib.loads(path.read_text()) if path.is_file() else {}
    content[family] = {name: asdict(each) for name, each in tables.items()}
    lines = [HEADER]
    for named, variants in sorted(content.items()):
        for variant, parts in variants.items():
            for part, terms in parts.items():
                lines.append(f"[{named}.{variant}.{part}]")
                lines += [f'"{term}" = {[*columns]}' for term, columns in terms.items()]
                lines.append("")
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
