"""How often forecasts contain the outcome: `python -m tests.soak.forecasts --campaigns 100`.

Campaigns are rehearsed with rates that the forecasts do not know: trainings that take longer or
shorter than assumed, queues and nodes that are worse or better. At 10, 30 and 60 per cent of the
time that each of them takes, a forecast is made from what anybody could see then.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.budget.forecast import Interval
from pipeline.campaign import load_campaign
from pipeline.planning.plan import Plan, RunOptions, make_plan
from pipeline.rehearsal import rehearse
from pipeline.rehearsal.forecast import (
    FAILURES,
    WAITS_SIGMA,
    WORK_SIGMA,
    RehearsedForecast,
    forecast,
)
from pipeline.rehearsal.snapshot import Rates, Snapshot
from pipeline.run import Run
from pipeline.site import load_site

LADDER = Path(__file__).parent.parent / "campaigns" / "ladder.toml"
MOMENTS = (0.1, 0.3, 0.6)
HOURS = (20, 60, 100)  # of the ladder's trainings; a link is of 48 at most


def planned(root: Path, site: str, hours: tuple[int, ...] = HOURS) -> Plan:
    """Return the plan of a ladder whose trainings take `hours`, with two seeds each."""
    campaign, run = load_campaign(str(LADDER)), Run(root, "ladder")
    assert campaign.pretrain is not None
    grid = campaign.pretrain.model_copy(update={"seeds": (1, 2)})
    tasks = campaign.model_copy(update={"pretrain": grid}).tasks(run)
    trainings = iter(hours * 2)
    changed = [
        task.model_copy(
            update={
                "training": task.training.model_copy(
                    update={"walltime_minutes": 60 * next(trainings)}
                )
            }
        )
        if task.stage == "pretrain"
        else task
        for task in tasks
    ]
    return make_plan(changed, run, load_site(site), RunOptions(project="m4722", bundle="never"))


def one(
    plan: Plan, seed: int, samples: int
) -> Iterator[tuple[float, str, bool, RehearsedForecast]]:
    """Yield the moment, the quantity, whether the forecast held, and the forecast."""
    dice = random.Random(seed)
    rates = Rates(
        work=dice.lognormvariate(0, WORK_SIGMA),
        waits=dice.lognormvariate(0, WAITS_SIGMA),
        failures=dice.gammavariate(FAILURES, 1 / FAILURES),
    )
    truth = rehearse(plan, seed, rates=rates)
    found: dict[float, RehearsedForecast] = {}

    def poll(moment: float, snapshot: Snapshot) -> None:
        found[moment] = forecast(plan, snapshot, samples=samples, seed=seed)

    polls = {moment * truth.hours: partial(poll, moment) for moment in MOMENTS}
    assert rehearse(plan, seed, rates=rates, polls=polls).hours == truth.hours
    for moment, predicted in found.items():
        left = (1 - moment) * truth.hours / 24
        yield moment, "days", _holds(predicted.days, left), predicted
        yield moment, "node-hours", _holds(predicted.node_hours, truth.node_hours), predicted


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def main() -> int:
    """Print a line per moment: how often the intervals held, and how wide they were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="seed of the first campaign")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--site", default="perlmutter")
    options = parser.parse_args()
    began = time.monotonic()
    held: Counter[tuple[float, str]] = Counter()
    widths: Counter[tuple[float, str]] = Counter()
    with tempfile.TemporaryDirectory() as root:
        plan = planned(Path(root), options.site)
        for seed in range(options.first, options.first + options.campaigns):
            for moment, what, came_true, predicted in one(plan, seed, options.samples):
                held[moment, what] += came_true
                interval = predicted.days if what == "days" else predicted.node_hours
                widths[moment, what] += (interval.high - interval.low) / interval.middle
            sys.stderr.write(f"campaign {seed} done\n")
    for (moment, what), count in sorted(held.items()):
        share, width = count / options.campaigns, widths[moment, what] / options.campaigns
        sys.stdout.write(f"at {moment:.0%}, {what}: held {share:.0%}, {width:.0%} wide\n")
    sys.stdout.write(f"{options.campaigns} campaigns in {time.monotonic() - began:.0f} s\n")
    return int(min(held.values(), default=0) < 0.8 * options.campaigns)


if __name__ == "__main__":
    raise SystemExit(main())
