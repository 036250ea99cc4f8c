"""`recipe = "published"` in a campaign file."""

import tomllib

import pytest

from pipeline import catalog
from pipeline.campaign import SHELF, Campaign, load_campaign
from pipeline.campaign.recipes import KNOWN, compared
from pipeline.catalog import DeclarationError, parse
from pipeline.run import Run

QUICK = [name for name in catalog.names(SHELF) if name.endswith("-quick")]
FILE = {
    "name": "made",
    "datasets": {"jets": {"experiment": "jetclass", "folder": ".", "splits": {"train": ["*"]}}},
    "models": {
        "part": {"family": "part"},
        "net": {"family": "particlenet"},
        "sophon": {"family": "part", "size": "sophon"},
        "sets": {"family": "deepsets", "size": "pfn"},
        "masked": {"family": "mpm", "size": "small", "objectives": {"regression": 1.0}},
    },
}
LENGTH = {"events_seen": 51_200, "walltime_minutes": 10}


def pretraining(models, training, **more):
    """A campaign that pretrains `models`."""
    section = {"dataset": "jets", "models": models, "events": [100], "training": training, **more}
    return parse(Campaign, {**FILE, "pretrain": section}).pretrain


def finetuning(models, **training):
    """A campaign that fine-tunes `models` to classify jets."""
    section = {
        "dataset": "jets",
        "models": models,
        "labels": [100],
        "head": {"task": "jets"},
        "training": {"recipe": "published", **LENGTH, **training},
    }
    pretrain = {
        "dataset": "jets",
        "models": models,
        "events": [100],
        "training": {**LENGTH, "batch_events": 8, "learning_rate": 1e-3},
    }
    file = {**FILE, "pretrain": pretrain, "finetune": {"classes": section}}
    return parse(Campaign, file).finetune["classes"]


def test_every_model_has_the_recipe_of_its_own_family_and_size():
    grid = pretraining(["part", "net", "sophon"], {"recipe": "published", **LENGTH})
    rates = {name: grid.training_of(name).learning_rate for name in grid.models}
    assert rates == {"part": 1e-3, "net": 1e-2, "sophon": 5e-4}
    assert {grid.training_of(name).optimiser for name in grid.models} == {"ranger"}


def test_keys_of_the_file_come_before_the_recipe():
    grid = pretraining(["part"], {"recipe": "published", **LENGTH, "batch_events": 32})
    training = grid.training_of("part")
    assert (training.batch_events, training.betas) == (32, (0.95, 0.999))


def test_one_model_may_have_the_recipe_and_the_others_not():
    common = {**LENGTH, "batch_events": 8, "learning_rate": 3e-3}
    changes = {"part": {"training": {"recipe": "published", "batch_events": 16}}}
    grid = pretraining(["part", "sets"], common, by_model=changes)
    part, sets = (grid.training_of(name) for name in ("part", "sets"))
    assert (part.batch_events, part.learning_rate, part.optimiser) == (16, 1e-3, "ranger")
    assert (sets.batch_events, sets.learning_rate, sets.optimiser) == (8, 3e-3, "adamw")
    assert part.events_seen == LENGTH["events_seen"]


def test_an_empty_recipe_of_one_model_means_none():
    common = {**LENGTH, "batch_events": 8, "learning_rate": 3e-3}
    grid = pretraining(["sets"], common, by_model={"sets": {"training": {"recipe": ""}}})
    assert grid.training_of("sets").optimiser == "adamw"


def test_a_fine_tuning_has_the_recipe_of_its_task():
    training = finetuning(["masked"], batch_events=16).training
    assert (training.learning_rate, training.clip_norm, training.batch_events) == (1e-4, 5.0, 16)


def test_no_recipe_is_what_an_empty_one_means():
    training = finetuning(["part"], recipe="", learning_rate=1e-3, batch_events=8).training
    assert training.optimiser == "adamw"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: pretraining(["sets"], {"recipe": "published", **LENGTH}),
            "sets (deepsets) has no published recipe of this stage, pretrain; there are those of: ",
        ),
        (
            lambda: pretraining(["part"], {"recipe": "mine", **LENGTH}),
            "pretrain.training.recipe: 'mine' is no recipe: write \"published\", or leave it out",
        ),
        (
            lambda: finetuning(["part"]),
            "finetune.classes.training.recipe: part (part) has no published recipe of this stage",
        ),
        (
            lambda: pretraining(["nobody"], {"recipe": "published", **LENGTH}),
            "pretrain.training.learning_rate: Field required",
        ),
        (
            lambda: pretraining(7, {"recipe": "published", **LENGTH}),
            "pretrain.models: Input should be a valid tuple",
        ),
        (
            lambda: pretraining(["part"], {"recipe": "published", "walltime_minutes": 1}),
            "events_seen: Field required",
        ),
        (
            lambda: pretraining(["part"], {"recipe": "published", **LENGTH, "batch_events": "x"}),
            "batch_events: Input should be a valid integer",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(DeclarationError) as caught:
        make()
    assert message in str(caught.value)


def test_models_of_one_fine_tuning_share_a_recipe(monkeypatch):
    omnilearned = {"family": "omnilearned", "size": "small"}
    monkeypatch.setitem(FILE["models"], "omni", omnilearned)
    with pytest.raises(DeclarationError, match="masked and omni have different ones: give each"):
        finetuning(["masked", "omni"])


@pytest.mark.parametrize("name", QUICK)
def test_quick_campaigns_start_from_the_published_recipes(name):
    file = tomllib.loads(catalog.find(SHELF, name).read_text())
    families = {key: model["family"] for key, model in file["models"].items()}
    pretrain = file["pretrain"]
    for model in pretrain["models"]:
        if KNOWN[families[model]].recipe("pretrain") is not None:
            changes = pretrain.get("by_model", {}).get(model, {}).get("training", {})
            assert "published" in (pretrain["training"].get("recipe"), changes.get("recipe"))
    for grid in file.get("finetune", {}).values():
        for model in grid.get("models", pretrain["models"]):
            if KNOWN[families[model]].recipe(grid.get("head", {}).get("task", "tracks")):
                assert grid["training"].get("recipe") == "published"


def test_a_plan_tells_where_trainings_leave_their_recipes(tmp_path):
    campaign = load_campaign("polarbert-quick")
    tasks = campaign.tasks(Run(tmp_path, campaign.name), elsewhere=True)
    assert [str(each) for each in compared(tasks)] == [
        "pretrain polarbert: batch_events 16 (published: 200); steps 1,500 (published: 50,000)"
    ]
