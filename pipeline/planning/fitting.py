"""Trainings made to fit the memory of a site's devices, or refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.campaign import CHAINED, Campaign, Task, Training
from pipeline.campaign.memory import named
from pipeline.catalog import DeclarationError
from pipeline.planning.event_sizes import EventSizes
from pipeline.planning.memory import GB, Learner, Memory, memories, needed, sizes_of
from pipeline.planning.selection import Part
from pipeline.site import Site

FIT = "fit"


def within(part: Part, campaign: Campaign, site: Site) -> Part:
    """Return the part with the trainings that ask for it made to fit the devices of `site`."""
    whole = {task.key: task for task in chosen(part.every_task, campaign, site)}
    return replace(part, every_task=[*whole.values()], tasks=[whole[t.key] for t in part.tasks])


def chosen(tasks: Sequence[Task], campaign: Campaign, site: Site) -> list[Task]:
    """Return `tasks`, those whose training asks for it with what fits the devices of `site`.

    That is as many events at once as fit; blocks are computed again only if not even one event fits
    without. Where nothing fits, or nothing is known, a training stays as it is declared.
    """
    asking = [each for each in tasks if isinstance(each, CHAINED) and each.training.memory == FIT]
    sizes = sizes_of(asking, campaign)
    found = {each.key: fitted(each, site, sizes[each.key]) for each in asking}
    changed = {key: {"training": each} for key, each in found.items() if each is not None}
    return [each.model_copy(update=changed.get(each.key, {})) for each in tasks]


def fitted(task: Learner, site: Site, sizes: EventSizes) -> Training | None:
    """Return the training of `task` with what fits, None where nothing does."""
    for training in _ways(task):
        memory = needed(task, training, site, sizes)
        if memory is None or memory.fits:
            return training
    return None


def _ways(task: Learner) -> Iterator[Training]:
    """Yield the ways to take a batch forward, the fastest first; none learns anything else.

    What a model learns of events taken together (`taken_together`) depends on how many they are.
    """
    declared = task.training
    most = declared.events_at_once
    parts = [most] if task.model.taken_together else _parts(most)
    for again in sorted({declared.activation_checkpointing, True}):
        for events in parts:
            fewer = {} if events == most else {"micro_events": events}
            yield declared.model_copy(update={**fewer, "activation_checkpointing": again})


def _parts(events: int) -> list[int]:
    """Return the sizes of the largest micro-batch, were so many events divided evenly."""
    return list(dict.fromkeys(-(-events // count) for count in range(1, events + 1)))


def check(tasks: Sequence[Task], campaign: Campaign, site: Site) -> None:
    """Check that all trainings fit the devices of `site`.

    Raises:
        DeclarationError: One does not; the message has a line for each.
    """
    lines = list(too_large(tasks, memories(tasks, campaign, site), campaign, site))
    if lines:
        each = "\n".join(f"  - {line}" for line in lines)
        message = f"Nothing was submitted:\n{each}\nTo submit anyway: --no-check"
        raise DeclarationError(message)


def too_large(
    tasks: Sequence[Task], found: Mapping[str, Memory], campaign: Campaign, site: Site
) -> Iterator[str]:
    """Yield a line for each training that no device has the memory for, with what to type."""
    large = {key: each for key, each in found.items() if not each.fits}
    sizes = sizes_of(tasks, campaign) if large else {}
    for task in tasks:
        if isinstance(task, CHAINED) and task.key in large:
            yield _refusal(task, large[task.key], site, fitted(task, site, sizes[task.key]))


def _refusal(task: Learner, memory: Memory, site: Site, fits: Training | None) -> str:
    """Return why a training does not fit, and what to write into its declaration."""
    assert memory.device is not None
    kind = site.training.node
    return (
        f"{task.key}: {named(task.model)} with {memory.events} events at once is predicted to need "
        f"{memory.total / GB:,.1f} GB on each device, and a device of {site.title}'s nodes "
        f"{kind!r} has {memory.device / GB:,.0f} GB: {memory.states / GB:,.1f} GB of weights, "
        f"gradients and optimiser, {memory.activations / GB:,.1f} GB of activations, and a share "
        f"of {memory.overhead:.0%} that no tensor gets. {_advice(task, fits)}"
    )


def _advice(task: Learner, fits: Training | None) -> str:
    """Return what to write so that a training fits."""
    if fits is None:
        return (
            "Not even one event at once fits with activation_checkpointing = true: write zero = 3 "
            "and more devices, or a site file of your own with nodes of more memory (--site)."
        )
    again = not task.training.activation_checkpointing and fits.activation_checkpointing
    lines = ["activation_checkpointing = true"] if again else []
    if fits.events_at_once != task.training.events_at_once:
        lines.append(f"micro_events = {fits.events_at_once}")
    return f'Write {" and ".join(lines)} in its training, or memory = "{FIT}".'
