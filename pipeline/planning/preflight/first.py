"""The checks that run by themselves before a campaign's first submission."""

import time
from dataclasses import asdict

from pipeline.catalog import DeclarationError
from pipeline.planning.plan import Plan
from pipeline.planning.preflight.check import Check
from pipeline.planning.preflight.login import login
from pipeline.scheduler import Scheduler, batch_system
from pipeline.writing import read_json, write_json

VALID_SECONDS = 24 * 3600


def before_submission(plan: Plan, scheduler: Scheduler) -> list[Check]:
    """Check the site, unless the same check passed within a day; return the rows.

    A machine without a scheduler costs nothing, and is not checked.

    Raises:
        DeclarationError: A row failed; nothing is submitted.
    """
    request = [plan.site.name, plan.options.project, plan.options.qos, plan.options.image]
    known = read_json(plan.run.preflight)
    fresh = known is not None and known["request"] == request
    if not batch_system(plan.site).HAS_QUEUE or (
        fresh and known is not None and abs(time.time() - known["time"]) < VALID_SECONDS
    ):
        return []
    rows = list(login(plan.site, scheduler, plan.run.path, plan.options))
    failed = [row for row in rows if row.state == "failed"]
    if failed:
        lines = "\n".join(f"  - {row.name}: {row.found}. {row.todo}" for row in failed)
        again = f"cosmotron sites check {plan.site.name}"
        message = (
            f"Nothing was submitted:\n{lines}\nAll rows: {again}. To submit anyway: --no-check"
        )
        raise DeclarationError(message)
    content = {"request": request, "time": time.time(), "rows": [asdict(row) for row in rows]}
    write_json(plan.run.preflight, content)
    return rows
