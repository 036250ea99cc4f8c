"""Published recipes: what they become at another length, and how a training leaves them."""

import pytest

from pipeline.campaign import Training
from pipeline.families import FAMILIES, TOKENIZERS
from pipeline.families.part.recipe import flat_then_falling
from pipeline.families.recipe import UNSET, Recipe

RECIPE = Recipe(
    source="a paper",
    settings={"learning_rate": 1e-3, "batch_events": 512, "schedule": "cosine", "clip_norm": 5.0},
    steps=1000,
    warmup=0.1,
    final=0.01,
    ema_steps=100,
)
ALL = [
    pytest.param(recipe, id=f"{name} {stage}")
    for name, family in (FAMILIES | TOKENIZERS).items()
    for stage, recipe in family.recipes().items()
]


def training(recipe, **given):
    """A training by the recipe, with some keys given."""
    length = {"events_seen": 64_000, "walltime_minutes": 1}
    return Training(**recipe.keys(length | given))


def test_what_depends_on_length_rate_and_batch_follows_them():
    found = training(RECIPE, batch_events=64, learning_rate=4e-3)
    assert (found.warmup_events, found.ema_events) == (6400, 6400)
    assert found.final_learning_rate == pytest.approx(4e-5)


def test_what_the_authors_do_not_set_is_as_pytorch_has_it():
    found = training(RECIPE)
    assert (found.betas, found.weight_decay, found.weight_decay_of) == ((0.9, 0.999), 0.01, "all")
    assert found.clip_value == 0.0


def test_given_keys_stay():
    found = training(RECIPE, warmup_events=7, clip_norm=0.5, betas=(0.9, 0.95))
    assert (found.warmup_events, found.clip_norm, found.betas) == (7, 0.5, (0.9, 0.95))


def test_another_schedule_leaves_out_the_keys_of_the_published_one():
    found = training(RECIPE, schedule="constant")
    assert (found.warmup_events, found.final_learning_rate) == (0, 0.0)
    assert found.clip_norm == 5.0


def test_at_the_published_length_and_batch_nothing_departs():
    whole = training(RECIPE, events_seen=512_000)
    assert RECIPE.departures(whole.model_dump()) == []


def test_departures_name_the_key_and_both_values():
    other = training(RECIPE, batch_events=64, learning_rate=4e-3, optimiser="lion")
    assert sorted(map(str, RECIPE.departures(other.model_dump()))) == [
        "batch_events 64 (published: 512)",
        "learning_rate 0.004 (published: 0.001)",
        "optimiser lion (published: adamw)",
    ]


def test_another_schedule_is_one_departure():
    other = training(RECIPE, events_seen=512_000, schedule="constant")
    assert [each.key for each in RECIPE.departures(other.model_dump())] == ["schedule"]


def test_another_length_is_a_departure_where_the_length_is_published():
    shorter = training(RECIPE, events_seen=51_200)
    assert [str(each) for each in RECIPE.departures(shorter.model_dump())] == [
        "steps 100 (published: 1,000)"
    ]


@pytest.mark.parametrize("recipe", ALL)
def test_every_recipe_makes_a_training_at_its_own_length(recipe):
    steps = recipe.steps or 1000
    length = {"events_seen": steps * recipe.settings["batch_events"], "walltime_minutes": 1}
    found = Training(**recipe.keys(length))
    assert recipe.departures(found.model_dump()) == []
    assert set(recipe.settings) <= set(UNSET) | set(Training.model_fields)
    assert recipe.source


@pytest.mark.parametrize("recipe", ALL)
def test_every_recipe_makes_a_training_of_a_few_steps(recipe):
    assert training(recipe, events_seen=333, batch_events=7).steps == 47


def test_the_schedule_of_weaver_falls_to_a_hundredth_in_the_last_epochs():
    """Constant for 35 of 50 epochs; then each epoch 0.01^(1/15) of the one before."""
    points = flat_then_falling(50)
    of_epoch = {round(share * 50): value for share, value in points}  # of a step, its end
    assert (points[0], of_epoch[36]) == ((0.0, 1.0), pytest.approx(0.01 ** (1 / 15)))
    assert of_epoch[49] == pytest.approx(0.01 ** (14 / 15))
