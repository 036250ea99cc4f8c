"""The page docs/measured/memory.md: what all shipped trainings need on two machines."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from memory import heads
from memory.cases import SETTINGS, drawn, taken
from memory.counting import Counts, counts
from pipeline import catalog
from pipeline.campaign import CHAINED, SHELF, load_campaign
from pipeline.cli.planning import SIZE_AND_SEED
from pipeline.families.activations import Activations, activations, of_head
from pipeline.planning.fitting import chosen
from pipeline.planning.memory import GB, Memory, memories
from pipeline.run import Run
from pipeline.site import load_site

SITES = ("perlmutter", "frontier")
NEW = 1000  # the first seed that no table was made with
PAGE = """\
# Memory of trainings

`python -m tests.memory --page docs/measured/memory.md`, {date}, on a CPU.

## Predicted and real, on a CPU

Of each family and downstream task {models} small models that the tables were not made with run
forward and backward; heads with the states of a backbone that they are given.
The real peak is that of all tensors' bytes, as torch's profiler follows them; the columns are how
far the predictions are from it, from the lowest to the highest.

| family | kept for the backward pass | peak | peak with activation checkpointing |
| --- | --- | --- | --- |
{families}

| head | kept for the backward pass | peak | peak with activation checkpointing |
| --- | --- | --- | --- |
{tasks}

## Shipped campaigns

What `cosmotron plan` predicts for each device: weights, gradients, the optimiser's states and
buckets, activations of the events that a process takes forward at once, and the share that no
tensor gets (`device_overhead`, 15 %, a guess until it is measured on a device). Rows hold the
trainings of one model with the least and the most. No device was there to measure any of it.

{tables}
"""


def written(models: int) -> str:
    """Return the page."""
    seeds = range(NEW, NEW + models)
    return PAGE.format(
        date=f"{date.today():%B %Y}",
        models=models,
        families="\n".join(
            _row(name, [_family(name, seed) for seed in seeds]) for name in SETTINGS
        ),
        tasks="\n".join(
            _row(name, [_task(name, seed) for seed in seeds]) for name in heads.SETTINGS
        ),
        tables="\n\n".join(_table(site) for site in SITES),
    )


def _family(name: str, seed: int) -> tuple[Activations | None, Activations | None, Counts]:
    """Return the predictions for a model, also with blocks computed again, and the counts."""
    model, batch = drawn(name, seed)
    size = taken(batch)
    plain, again = (activations(model, size, "fp32", again=each) for each in (False, True))
    return plain, again, counts(model, batch)


def _task(name: str, seed: int) -> tuple[Activations | None, Activations | None, Counts]:
    """Return the same for a head."""
    case = heads.drawn(name, seed)
    plain, again = (
        of_head(case.task, case.model, case.taken, "fp32", again=each) for each in (False, True)
    )
    return plain, again, case.counts()


def _row(name: str, cases: Sequence[tuple[Activations | None, Activations | None, Counts]]) -> str:
    """Return how far the predictions are from what is counted, from the lowest to the highest."""
    off = []
    for plain, again, real in cases:
        assert plain is not None
        assert again is not None
        pairs = (plain.kept, real.kept), (plain.peak, real.peak), (again.peak, real.peak_again)
        off.append([predicted / counted - 1 for predicted, counted in pairs])
    cells = (f"{min(each):+.1%} to {max(each):+.1%}" for each in zip(*off, strict=True))
    return f"| `{name}` | {' | '.join(cells)} |"


def _table(name: str) -> str:
    """Return what all shipped trainings need on a site."""
    site = load_site(name)
    node = site.nodes[site.training.node]
    rows = [row for campaign in catalog.names(SHELF) for row in _rows(campaign, name)]
    kind = f"nodes `{site.training.node}` with devices of {node.device_memory_gb} GB"
    return "\n".join(
        [
            f"{site.title}, {kind}:",
            "",
            "| campaign | training | events at once | states, GB | activations, GB | all, GB |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
            *rows,
        ]
    )


def _rows(name: str, on: str) -> Iterator[str]:
    """Yield a row for each model of a campaign, of the trainings of each stage."""
    kinds: dict[tuple[str, str], list[Memory]] = {}
    for key, memory in shipped(name, on).items():
        stage, _, rest = key.partition("/")
        kinds.setdefault((stage, SIZE_AND_SEED.sub("", rest)), []).append(memory)
    for (stage, model), each in kinds.items():
        events = _range([m.events for m in each], "{:,}")
        parts = (
            _range([m.states / GB for m in each], "{:.2f}"),
            _range([m.activations / GB for m in each], "{:.2f}"),
            _range([m.total / GB for m in each], "{:.2f}"),
        )
        yield f"| {name} | {stage} {model} | {events} | {' | '.join(parts)} |"


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def shipped(name: str, on: str) -> dict[str, Memory]:
    """Return what the trainings of a shipped campaign need on a site, by key."""
    campaign, site = load_campaign(name), load_site(on)
    run = Run(Path("/nonexistent"), campaign.name)
    tasks = [
        each
        for each in campaign.tasks(run, elsewhere=True, optional=True)
        if isinstance(each, CHAINED)
    ]
    return memories(chosen(tasks, campaign, site), campaign, site)
