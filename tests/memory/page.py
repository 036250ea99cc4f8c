"""The page docs/measured/memory.md: what all shipped trainings need on two machines."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from memory.cases import SETTINGS, drawn, taken
from memory.counting import counts
from pipeline import catalog
from pipeline.campaign import CHAINED, SHELF, load_campaign
from pipeline.families.activations import activations
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

Of each family {models} small models that the tables were not made with run forward and backward.
The real peak is that of all tensors' bytes, as torch's profiler follows them; the columns are how
far the predictions are from it, from the lowest to the highest.

| family | kept for the backward pass | peak | peak with activation checkpointing |
| --- | --- | --- | --- |
{families}

## Shipped campaigns

What `cosmotron plan` predicts for each device: weights, gradients, the optimiser's states and
buckets, activations of the events that a process takes forward at once, and the share that no
tensor gets (`device_overhead`, 15 %, a guess until it is measured on a device). Rows hold the
trainings of one model with the least and the most. No device was there to measure any of it.

{tables}
"""


def written(models: int) -> str:
    """Return the page."""
    tables = "\n\n".join(_table(site) for site in SITES)
    families = "\n".join(_family(name, models) for name in SETTINGS)
    today = f"{date.today():%B %Y}"
    return PAGE.format(date=today, models=models, families=families, tables=tables)


def _family(name: str, models: int) -> str:
    """Return how far the predictions for a family are from what is counted."""
    off: list[tuple[float, float, float]] = []
    for seed in range(NEW, NEW + models):
        model, batch = drawn(name, seed)
        real, size = counts(model, batch), taken(batch)
        plain = activations(model, size, "fp32")
        again = activations(model, size, "fp32", again=True)
        assert plain is not None
        assert again is not None
        off.append(
            (
                plain.kept / real.kept - 1,
                plain.peak / real.peak - 1,
                again.peak / real.peak_again - 1,
            )
        )
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
        kinds.setdefault((stage, rest.split("-d")[0]), []).append(memory)
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
