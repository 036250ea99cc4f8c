"""What a training may ask, and what it is told when it asks for what cannot be."""

import pytest

from pipeline.campaign import Training
from pipeline.catalog import DeclarationError, parse


def asked(**changes):
    """The values of a training of 800 events, with some changed."""
    values = {
        "events_seen": 800,
        "batch_events": 8,
        "learning_rate": 1e-3,
        "checkpoint_events": 100,
        "walltime_minutes": 1,
    }
    return values | changes


WRONG = [
    ({"schedule": "trapezoid"}, "give either decay_events or decay_fraction"),
    (
        {"schedule": "trapezoid", "decay_events": 8, "decay_fraction": 0.1},
        "give either decay_events or decay_fraction",
    ),
    ({"decay_events": 8}, 'schedule "cosine" has no decay_events or decay_fraction: leave them'),
    ({"schedule": "constant", "decay_fraction": 0.5}, 'or write schedule = "trapezoid"'),
    ({"warmup_events": 801}, "warmup_events 801 and a decay of 0 do not fit into events_seen 800"),
    (
        {"schedule": "trapezoid", "warmup_events": 500, "decay_fraction": 0.5},
        "warmup_events 500 and a decay of 400 do not fit into events_seen 800",
    ),
    (
        {"schedule": "constant", "final_learning_rate": 1e-4},
        'schedule "constant" ends at learning_rate: leave final_learning_rate out',
    ),
    ({"final_learning_rate": 0.1}, "final_learning_rate 0.1 is above learning_rate 0.001"),
    ({"schedule": "wsd"}, "schedule: Input should be 'cosine', 'one-cycle', 'trapezoid'"),
    ({"optimiser": "sgd"}, "optimiser: Input should be 'adamw', 'lion' or 'ranger'"),
    ({"schedule": "points"}, 'schedule "points" and the key points need each other'),
    ({"points": ((0, 1), (1, 0))}, 'schedule "points" and the key points need each other'),
    (
        {"schedule": "points", "points": ((0, 1), (0.5, 1), (0.4, 0))},
        "the shares of events_seen are 0.0, 0.5, 0.4; expected them to rise from 0.0 to 1.0",
    ),
    (
        {"schedule": "points", "points": ((0, 1), (1, 0)), "final_learning_rate": 1e-4},
        'schedule "points" ends at its last point: leave final_learning_rate out',
    ),
    ({"optimiser": "lion", "amsgrad": True}, 'leave it out for "lion"'),
    ({"max_beta": 0.95}, 'max_beta is of schedule "one-cycle": leave it out for "cosine"'),
    ({"zero": 3, "ema_events": 100}, "with zero = 3 no process has all weights; write zero = 2"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(DeclarationError) as caught:
        parse(Training, asked(**changes))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "decay"),
    [
        ({}, 0),
        ({"schedule": "trapezoid", "decay_events": 120}, 120),
        ({"schedule": "trapezoid", "decay_fraction": 0.25}, 200),
        ({"schedule": "trapezoid", "decay_fraction": 1.0}, 800),
    ],
)
def test_the_decay_is_a_number_of_events(changes, decay):
    assert Training(**asked(**changes)).decay == decay
