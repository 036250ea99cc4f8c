"""The memory that each training needs on one device, from its declaration alone.

Weights, gradients and the optimiser's states follow from the number of parameters; what a forward
pass keeps follows from the family's terms, and the bytes counted for each (`activations`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.campaign import (
    CHAINED,
    Campaign,
    FeaturesTask,
    FinetuneTask,
    PretrainTask,
    Task,
    TokenizeTask,
    Training,
)
from pipeline.families import Family, Parameters
from pipeline.families.activations import Activations, Taken, activations, of_head
from pipeline.planning.event_sizes import EventSizes, event_sizes
from pipeline.site import Site

GB = 1e9
BUCKET = 500_000_000  # gradients reduced at once at most, as in `pipeline.training.engine`
# Bytes that an optimiser knows of each parameter: one to three numbers in single precision.
STATES = {"adamw": 8, "lion": 4, "ranger": 12}
Learner = TokenizeTask | PretrainTask | FinetuneTask


@dataclass(frozen=True)
class Memory:
    """What a training needs on each device, in bytes, with `events` events taken forward at once.

    `states` are weights, gradients, the optimiser's states and buckets; `activations` those of the
    forward and backward pass at their peak. `device` is what a device has, None where the site does
    not say, and `overhead` the share of it that no tensor gets.
    """

    events: int
    states: float
    activations: float
    device: float | None
    overhead: float

    @property
    def total(self) -> float:
        """All of it, with what allocator, driver and communication hold of a device."""
        tensors = self.states + self.activations
        return tensors if self.device is None else tensors / (1 - self.overhead)

    @property
    def fits(self) -> bool:
        """Whether a device has so much, as far as the site says."""
        return self.device is None or self.total <= self.device


def memories(tasks: Sequence[Task], campaign: Campaign, site: Site) -> dict[str, Memory]:
    """Return what each training needs on a device of `site`, by key, of which it is known."""
    sizes = sizes_of(tasks, campaign)
    found = {
        task.key: needed(task, task.training, site, sizes[task.key])
        for task in tasks
        if isinstance(task, CHAINED)
    }
    return {key: each for key, each in found.items() if each is not None}


def sizes_of(tasks: Sequence[Task], campaign: Campaign) -> dict[str, EventSizes]:
    """Return the sizes of the events that each training sees, by its key."""
    made = {task.store: task.source for task in tasks if isinstance(task, FeaturesTask)}
    stores = {task.key: _events(task) for task in tasks if isinstance(task, CHAINED)}
    known = {store: event_sizes(campaign, made.get(store, store)) for store in {*stores.values()}}
    return {key: known[store] for key, store in stores.items()}


def _events(task: Learner) -> Path:
    return task.jets if isinstance(task, TokenizeTask) else task.store


def needed(task: Learner, training: Training, site: Site, sizes: EventSizes) -> Memory | None:
    """Return what `task` needs on a device of `site`, trained as `training`; None if unknown."""
    events = training.events_at_once
    kernels = site.accelerator != "cpu" and getattr(task.model, "kernels", "") != "torch"
    taken = sizes.largest(events, kernels=kernels)
    if isinstance(task, FinetuneTask):
        parameters, peak = _tuned_parameters(task), _tuned_peak(task, training, taken)
    else:
        parameters = task.model.parameters()
        found = _of_pass(task.model, training, taken)
        peak = None if found is None else found.peak
    if parameters is None or peak is None:
        return None
    node = site.nodes[site.training.node]
    return Memory(
        events=events,
        states=states(parameters, training),
        activations=peak,
        device=None if node.device_memory_gb is None else GB * node.device_memory_gb,
        overhead=node.device_overhead,
    )


def _of_pass(model: Family, training: Training, taken: Taken) -> Activations | None:
    again = training.activation_checkpointing
    return activations(model, taken, training.precision, again=again)


def _backbone(task: FinetuneTask) -> Family:
    """Return the model whose states the head is given."""
    if task.cached:
        return task.model.with_one_state()
    return task.model.without_layers() if task.mode == "head" else task.model


def _tuned_parameters(task: FinetuneTask) -> Parameters | None:
    """Return the parameters of a fine-tuning; of a backbone with the heads of its pretraining.

    A change of low rank counts as nothing.
    """
    module, model = task.head.beside("activations"), _backbone(task)
    whole = Parameters(0) if task.cached else model.parameters()
    if module is None or whole is None:
        return None
    head: int = module.parameters(task.head, model)
    if task.mode in ("frozen", "lora"):
        return Parameters(head, whole.total)
    return Parameters(whole.trained + head, whole.frozen)


def _tuned_peak(task: FinetuneTask, training: Training, taken: Taken) -> float | None:
    """Return the bytes of both passes of a fine-tuning at their peak.

    A frozen backbone keeps nothing but its states, which count with the head, and needs at once
    what one of its blocks does.
    """
    again, model = training.activation_checkpointing, _backbone(task)
    head = of_head(task.head, model, taken, training.precision, again=again)
    if head is None or task.cached or task.mode == "head":
        return None if head is None else head.peak
    if task.mode == "frozen":
        block = activations(model, taken, training.precision, again=True)
        return None if block is None else head.peak + block.peak - block.kept
    found = _of_pass(model, training, taken)
    return None if found is None else max(found.peak, found.kept + head.peak)


def states(parameters: Parameters, training: Training) -> float:
    """Return the bytes of weights, gradients, optimiser and buckets on the first device.

    As DeepSpeed 0.19.8 allocates them, measured at one and two processes: in single precision it
    keeps a second copy of the weights at stages 1 and 2, in bf16 always one in single precision;
    from stage 1 on optimiser and copy are shared among processes, at stage 3 weights and gradients
    too. The gradients of a bucket are there twice.
    """
    trained, half = parameters.trained, training.precision == "bf16"
    weight, processes = (2 if half else 4), (training.devices if training.zero else 1)
    copy = 4 if half or training.zero in (1, 2) else 0
    of_optimiser = STATES[training.optimiser] + 4 * training.amsgrad
    # Before they are used, gradients in bf16 are made single.
    shared = (copy + of_optimiser + 4 * half) * trained / processes
    whole: float = 2 * weight * trained
    if training.zero == 3:  # weights are there while their layer computes
        whole = whole / processes + weight * min(trained, BUCKET)
    bucket = weight * min(trained, BUCKET)
    average = 4 * trained * bool(training.ema_events)
    return shared + whole + bucket + average + weight * parameters.frozen
