"""How a training runs: batches, schedule, optimiser, and what is kept."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipeline.catalog import INCIDENTAL, Declaration
from pipeline.precision import Precision

LANES = 64
Share = Annotated[float, Field(ge=0, le=1)]


class Validation(Declaration):
    """The events of the validation loss at each checkpoint: a subset of `events` of `split`.

    The checkpoint with the lowest loss is kept. With `weights` "best" its weights are the result
    instead of the last ones, as if the training had stopped there.
    """

    split: str
    events: PositiveInt
    weights: Literal["last", "best"] = "last"


class Training(Declaration):
    """How a training runs; all counts are of events, so that they hold at any world size.

    Keys marked `INCIDENTAL` may change while it runs; the others decide the weights.

    The schedule warms up linearly over `warmup_events` to `learning_rate`, then

    - cosine: half a cosine down to `final_learning_rate`;
    - one-cycle: warms up along a cosine instead, from 1/25 of the rate, then as cosine;
    - trapezoid: stays, and falls at the end, over `decay_events` or `decay_fraction` of all events,
      linearly or as 1 - √x (`decay_shape`);
    - points: follows `points`, each a share of `events_seen` and the share of the rate there, with
      straight lines between them; two points at one share make a step;
    - constant: stays.

    The optimisers' papers use other `betas` than our default: lion (0.9, 0.99), ranger
    (0.95, 0.999) with `epsilon` 1e-5. `amsgrad` is AdamW's. A one-cycle may start and end with
    `max_beta` in place of the first beta, which it reaches at the peak of the rate.

    `weight_decay` acts on "matrices", parameters of two or more axes, or on "all"; never on
    parameters whose name has a part in `no_weight_decay`. `clip_norm` bounds the norm of the
    gradient, then `clip_value` each of its entries; 0 bounds nothing. Heads, and what else a family
    names as `FASTER`, learn at `head_rate` times the rate.

    With `ema_events` an EMA of the weights is kept and exported, in which the weights n events ago
    count exp(-n / ema_events): a decay of 0.999 per step of 256 events is ema_events = 256 / 0.001
    = 256,000. 0 keeps none.

    A process runs at most `micro_events` of its share of a batch forward at once, all if None;
    `activation_checkpointing` computes each block's activations again in the backward pass instead
    of keeping them. With `memory` "fit" both are chosen for the devices of the site, by what is
    predicted to fit (`planning.memory`): `micro_events` at most those declared.

    A process without progress for `hang_seconds` ends its link. A loss that has diverged, by its
    means over `diverged_steps`, ends the training; 0 turns the check off.

    A checkpoint is written every `checkpoint_events`. If that is None, the interval is the one that
    costs least, from the duration of a save and the failure rate of the site's nodes.

    `metrics.jsonl` is flushed every `metrics_steps` steps; `writers` are other tools that get the
    same metrics (docs/training.md).
    """

    ALSO_DECIDES: ClassVar[tuple[str, ...]] = ("lanes",)

    events_seen: PositiveInt
    batch_events: PositiveInt
    micro_events: Annotated[PositiveInt | None, INCIDENTAL] = None
    learning_rate: PositiveFloat
    final_learning_rate: NonNegativeFloat = 0.0
    head_rate: PositiveFloat = 1.0
    schedule: Literal["cosine", "one-cycle", "trapezoid", "points", "constant"] = "cosine"
    warmup_events: NonNegativeInt = 0
    decay_events: NonNegativeInt = 0
    decay_fraction: Share = 0.0
    decay_shape: Literal["linear", "1-sqrt"] = "linear"
    points: tuple[tuple[Share, Share], ...] = ()
    optimiser: Literal["adamw", "lion", "ranger"] = "adamw"
    amsgrad: bool = False
    weight_decay: NonNegativeFloat = 0.01
    weight_decay_of: Literal["matrices", "all"] = "matrices"
    no_weight_decay: tuple[str, ...] = ()
    betas: tuple[PositiveFloat, PositiveFloat] = (0.9, 0.95)
    max_beta: Share = 0.0
    epsilon: PositiveFloat = 1e-8
    ema_events: NonNegativeInt = 0
    clip_norm: NonNegativeFloat = 1.0
    clip_value: NonNegativeFloat = 0.0
    precision: Precision = "fp32"
    zero: Annotated[Literal[0, 1, 2, 3], INCIDENTAL] = 1
    activation_checkpointing: Annotated[bool, INCIDENTAL] = False
    memory: Annotated[Literal["declared", "fit"], INCIDENTAL] = "declared"
    checkpoint_events: Annotated[PositiveInt | None, INCIDENTAL] = None
    keep_checkpoints: Annotated[int, Field(ge=2), INCIDENTAL] = 2
    metrics_steps: Annotated[PositiveInt, INCIDENTAL] = 1
    writers: Annotated[tuple[Literal["tensorboard", "wandb"], ...], INCIDENTAL] = ()
    devices: Annotated[PositiveInt, INCIDENTAL] = 1
    threads: Annotated[PositiveInt, INCIDENTAL] = 1
    hang_seconds: Annotated[PositiveInt, INCIDENTAL] = 1800
    diverged_steps: Annotated[NonNegativeInt, INCIDENTAL] = 100
    walltime_minutes: Annotated[PositiveInt, INCIDENTAL]

    @model_validator(mode="after")
    def _batch_is_shared(self) -> "Training":
        """Check that every device gets an event of each batch."""
        if self.batch_events < self.devices:
            message = (
                f"batch_events {self.batch_events} is below devices {self.devices}: each device "
                "needs an event of every batch"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _decay_of_trapezoid(self) -> "Training":
        """Check that a decay is set for the trapezoid, and only there."""
        given = (self.decay_events > 0) + (self.decay_fraction > 0)
        if self.schedule == "trapezoid" and given != 1:
            message = 'schedule "trapezoid": give either decay_events or decay_fraction'
            raise ValueError(message)
        if self.schedule != "trapezoid" and given:
            message = (
                f'schedule "{self.schedule}" has no decay_events or decay_fraction: leave them '
                'out, or write schedule = "trapezoid"'
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> "Training":
        """Check that the phases fit into the training, and that its rate does not end higher."""
        if self.warmup_events + self.decay > self.events_seen:
            message = (
                f"warmup_events {self.warmup_events} and a decay of {self.decay} do not fit into "
                f"events_seen {self.events_seen}"
            )
            raise ValueError(message)
        if self.schedule in ("constant", "points") and self.final_learning_rate:
            where = "its last point" if self.schedule == "points" else "learning_rate"
            message = f'schedule "{self.schedule}" ends at {where}: leave final_learning_rate out'
            raise ValueError(message)
        if self.final_learning_rate > self.learning_rate:
            message = (
                f"final_learning_rate {self.final_learning_rate:g} is above learning_rate "
                f"{self.learning_rate:g}"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _points_of_schedule(self) -> "Training":
        """Check that points are given for their schedule alone, from its start to its end."""
        if (self.schedule == "points") != bool(self.points):
            message = 'schedule "points" and the key points need each other: give both or neither'
            raise ValueError(message)
        shares = [share for share, _ in self.points]
        if self.points and (shares != sorted(shares) or (shares[0], shares[-1]) != (0.0, 1.0)):
            message = (
                f"points: the shares of events_seen are {', '.join(map(str, shares))}; expected "
                "them to rise from 0.0 to 1.0"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _fits_optimiser(self) -> "Training":
        """Check that amsgrad and max_beta are given where they act."""
        if self.amsgrad and self.optimiser != "adamw":
            message = f'amsgrad is of optimiser "adamw": leave it out for "{self.optimiser}"'
            raise ValueError(message)
        if self.max_beta and self.schedule != "one-cycle":
            message = f'max_beta is of schedule "one-cycle": leave it out for "{self.schedule}"'
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _ema_of_whole_weights(self) -> "Training":
        """Check that each process has all weights, since the first one keeps their EMA."""
        if self.ema_events and self.zero == 3:
            message = "ema_events: with zero = 3 no process has all weights; write zero = 2"
            raise ValueError(message)
        return self

    @property
    def decay(self) -> int:
        """The number of events at the end over which a trapezoid falls, 0 for other schedules."""
        return self.decay_events or round(self.decay_fraction * self.events_seen)

    @property
    def lanes(self) -> int:
        """The number of streams that a batch is drawn from, at least one per process.

        It belongs to the task, so that a resume at another world size sees the same batches. The
        devices share them evenly where they divide the batch.
        """
        most = max(LANES, self.devices)
        divisors = [n for n in range(1, self.batch_events + 1) if self.batch_events % n == 0]
        enough = [n for n in divisors if n >= self.devices]
        few = [n for n in enough if n <= most]
        return max([n for n in few if n % self.devices == 0] or few or [min(enough)])

    @property
    def events_at_once(self) -> int:
        """The most events that a process takes forward at once, on as many processes as devices."""
        share = -(-self.lanes // self.devices) * (self.batch_events // self.lanes)
        parts = -(-share // (self.micro_events or share))
        return -(-share // parts)

    @property
    def steps(self) -> int:
        """The number of optimiser steps; the last partial batch is not taken."""
        return max(1, self.events_seen // self.batch_events)
