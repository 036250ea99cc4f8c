"""Count what small models keep in memory, and write the tables that `plan` predicts with.

python -m tests.memory [FAMILY ...] [--models 28]
python -m tests.memory --page docs/measured/memory.md

For each family as many models with numbers drawn at random run forward and backward here, in single
precision and in bfloat16; scans once in plain PyTorch and once with what mamba-ssm's kernels keep.
The bytes for each unit of a term go to `activations.toml` in the family's folder.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from memory import page
from memory.cases import SETTINGS, drawn, taken
from memory.counting import counts
from memory.fitting import fitted
from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.families.activations import TABLES, Bytes

MODELS_ON_PAGE = 6
SCANS = ("fm4npp-mamba", "fm4npp-mamba2", "polarbert")
HEADER = """\
# Bytes for each unit of a term, as `python -m tests.memory` counts them. The columns are those of
# `Bytes` in pipeline/families/activations.py.
"""


def main() -> None:
    """Count the families that are named, all if none is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=[*SETTINGS])
    parser.add_argument("--models", type=int, default=28)
    parser.add_argument("--page", type=Path, help="write this page, by the tables as they are")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.page is not None:
        options.page.write_text(page.written(MODELS_ON_PAGE))
        return
    for family in options.families:
        tables = dict(counted(family, options.models))
        write(family, tables)
        print(f"{folder(family) / TABLES}: {', '.join(tables)}", flush=True)


def counted(family: str, models: int) -> Iterator[tuple[str, Bytes]]:
    """Yield the bytes of each table of a family, of so many models."""
    cases = [drawn(family, seed) for seed in range(models)]
    for on_device in (False, True) if family in SCANS else (False,):
        for half in (False, True):
            grown, found = [], []
            for model, batch in cases:
                if on_device and getattr(model, "backbone", "mamba") != "mamba":
                    continue
                try:
                    found.append(counts(model, batch, half=half, on_device=on_device))
                except RuntimeError as error:  # of a model that does not run in bfloat16
                    print(f"{family}: {error}", file=sys.stderr)
                else:
                    grown.append(
                        model.beside("activations").terms(model, taken(batch, kernels=on_device))
                    )
            if found:
                name = ("bf16" if half else "fp32") + ("-kernels" if on_device else "")
                yield name, fitted(grown, found)


def folder(family: str) -> Path:
    """Return the folder of a family."""
    module = sys.modules[{**FAMILIES, **TOKENIZERS}[family].__module__]
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
