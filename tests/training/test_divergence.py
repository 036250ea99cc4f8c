"""A loss that has lost what it learnt and as much again has diverged; nothing else has."""

import json
import math
import random

import pytest

pytest.importorskip("torch")

from pipeline.training.steps.divergence import Divergence, recorded


def messages(losses, window=100, past=0):
    """The (step, message) of each state, when so many steps are of earlier links."""
    numbered = list(enumerate(losses, 1))
    divergence = Divergence(window, numbered[:past])
    told = [(step, divergence.add(step, loss)) for step, loss in numbered[past:]]
    return [each for each in told if each[1]]


def learning(steps, *, noise=0.3, seed=0):
    """A loss that falls from 5 towards 2, with noise."""
    drawn = random.Random(seed)
    return [2 + 3 * math.exp(-n / 150) + drawn.gauss(0, noise) for n in range(steps)]


def diverging(seed=0):
    """A loss that learns for 500 steps and then rises for good."""
    return learning(500, seed=seed) + [2.0 + 0.02 * n for n in range(600)]


@pytest.mark.parametrize(
    "losses",
    [
        learning(2000),
        [random.Random(1).gauss(1, 0.5) for _ in range(2000)],  # learns nothing
        [1.0] * 1000,  # a plateau
        learning(600) + [50.0] * 3 + learning(600)[300:],  # a spike that heals
        learning(600) + learning(600),  # forgets all, and begins anew
        [0.7 + 1e-3 * random.Random(n).random() for n in range(1000)],
    ],
)
def test_what_is_healthy_is_left_alone(losses):
    assert messages(losses) == []


def test_divergence_is_noticed_and_reported():
    step, message = messages(diverging())[0]
    assert 700 < step < 1000
    assert f"has diverged at step {step}: its mean over 100 steps is" in message
    assert "Lower learning_rate or clip_norm, or lengthen warmup_events" in message
    assert "set diverged_steps = 0 to turn the check off" in message
    guard = Divergence(100, enumerate(diverging()[: step - 1], 1))
    with pytest.raises(FloatingPointError, match=f"has diverged at step {step}"):
        guard.check(step, diverging()[step - 1])


@pytest.mark.parametrize("past", [1, 150, 400, 777])
def test_the_verdict_is_the_same_after_a_resume(past):
    assert messages(diverging(), past=past)[0] == messages(diverging())[0]


def test_it_does_not_depend_on_the_scale_of_the_loss():
    scaled = [1e6 * loss for loss in diverging()]
    assert messages(scaled)[0][0] == messages(diverging())[0][0]


def test_nobody_looks_where_no_window_is_given():
    assert messages(diverging(), window=0) == []


def test_a_window_of_which_steps_are_missing_does_not_count():
    branch = Divergence(10)
    told = [branch.add(step, 1.0 if step < 11 else 5.0 + step) for step in range(8, 21)]
    assert not any(told), "the only whole window is the first"


def test_steps_are_read_up_to_the_one_that_was_resumed(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    assert list(recorded(metrics, 3)) == []
    lines = [json.dumps({"step": n, "loss": n / 2, "lr": 0.1}) + "\n" for n in range(1, 6)]
    metrics.write_text("".join(lines) + '{"step": 6, "lo')
    assert list(recorded(metrics, 3)) == [(1, 0.5), (2, 1.0), (3, 1.5)]
