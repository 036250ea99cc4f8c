"""Append records to the ledger, against a file written and synced."""

import os
from itertools import count
from pathlib import Path

from pipeline.budget.ledger import Ledger
from pipeline.budget.record import Kind, Record
from tests.benchmarks.contest import Contest


def contest(folder: Path, *, records: int) -> Contest:
    """Return the contest over `records` records."""
    place = folder / "ledger"
    place.mkdir()
    ours = Ledger(place / "ours")
    record = Record(kind=Kind.SUBMIT, site="local", stage="pretrain", task="m0", job_key="m0.1")
    text = record.model_dump_json(exclude_none=True) + "\n"
    numbers = count()

    def bare() -> None:
        for _ in range(records):
            with (place / f"bare-{next(numbers)}.json").open("w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())

    def append() -> None:
        for _ in range(records):
            ours.append(record)

    write = "write and fsync of one file each"
    return Contest(
        "append to the ledger", records, "records", append, {write: bare}, frozenset({write})
    )
