"""A ledger as a process leaves it that was killed before it could write something."""

import shutil
from pathlib import Path

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind
from pipeline.budget.record_files import count_folder


def without(folder: Path, kind: Kind) -> Ledger:
    """Write the ledger in `folder` again as if no record of `kind` had been written; return it."""
    kept = [record for record in Ledger(folder).records() if record.kind is not kind]
    for each in (folder, count_folder(folder)):
        shutil.rmtree(each)
    ledger = Ledger(folder)
    for record in kept:
        ledger.append(record)
    return ledger
