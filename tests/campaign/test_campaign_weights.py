"""A campaign whose model starts from a folder of weights."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.campaign import Campaign, load_campaign, model_folder
from pipeline.campaign.model_folder import ModelFolder, StoredWeights
from pipeline.catalog import DeclarationError, parse
from pipeline.families.omnilearned.spec import OmniLearned
from pipeline.families.particlenet.spec import ParticleNet
from pipeline.run import Run


def campaign_with(weights: str, **more: Any) -> Campaign:
    """A campaign that fine-tunes and probes a model that it does not pretrain."""
    declared = load_campaign("jet-models").model_dump()
    declared |= {"pretrain": None, "tokenizers": {}, "probe": {}}
    declared["models"] = {"theirs": {"family": "particlenet", "size": "kin", "weights": weights}}
    grid = declared["finetune"]["classes"] | {"models": ["theirs"], "modes": ["full", "scratch"]}
    declared["finetune"] = {"classes": grid | more}
    declared["probe"] = {"before": {"dataset": "few", "models": ["theirs"], "split": "test"}}
    return parse(Campaign, declared)


def model_in(folder: Path, **fields: Any) -> None:
    """Write what a folder of weights says of its model."""
    folder.mkdir()
    model = ParticleNet.model_validate({"size": "kin"} | fields)
    model_folder.write(folder, ModelFolder(model=model, weights=StoredWeights(sha256="ab")))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (None, r"models\.theirs: weights: no config\.toml in .*/model\. Name a folder"),
        ({"inner": 8}, r"/model holds weights of another model: inner = 8"),
    ],
)
def test_weights_are_looked_at_before_anything_is_submitted(
    tmp_path: Path, fields: dict[str, Any] | None, message: str
) -> None:
    if fields is not None:
        model_in(tmp_path / "model", **fields)
    campaign = campaign_with(str(tmp_path / "model"))
    with pytest.raises(DeclarationError, match=message):
        campaign.tasks(Run(tmp_path, "c"))
    assert campaign.tasks(Run(tmp_path, "c"), elsewhere=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "classifier", "classes": 2, "kinds": 0, "additional": []}, ""),
        ({"width": 64}, r"holds weights of another model: width = 128"),
    ],
)
def test_a_family_says_in_what_its_model_may_differ_from_the_one_it_starts_from(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    pretrained = OmniLearned.model_validate({"size": "small"})
    model_folder.write(folder, ModelFolder(model=pretrained, weights=StoredWeights(sha256="ab")))
    declared = load_campaign("jet-models").model_dump()
    model = {"family": "omnilearned", "size": "small", "weights": str(folder), **given}
    section = {"dataset": "many", "models": ["top"], "events": [100], "by_model": {}}
    declared |= {"models": {"top": model}, "tokenizers": {}, "finetune": {}, "probe": {}}
    declared["pretrain"] |= section
    campaign = parse(Campaign, declared)
    if message:
        with pytest.raises(DeclarationError, match=message):
            campaign.tasks(Run(tmp_path, "c"))
    else:
        assert "pretrain" in {task.stage for task in campaign.tasks(Run(tmp_path, "c"))}


def test_a_campaign_starts_from_a_folder_without_pretraining(tmp_path: Path) -> None:
    model_in(tmp_path / "model")
    tasks = campaign_with(str(tmp_path / "model")).tasks(Run(tmp_path, "c"))
    assert {task.stage for task in tasks} == {"simulate", "stage", "probe", "finetune", "evaluate"}
    probe = next(task for task in tasks if task.stage == "probe")
    assert probe.pretrained == tmp_path / "model"
    assert probe.needs == ("stage/few",)
    by_mode = {task.mode: task for task in tasks if task.stage == "finetune"}
    assert by_mode["full"].backbone == tmp_path / "model"
    assert by_mode["full"].needs == ("stage/few",)
    assert by_mode["scratch"].backbone is None
    assert by_mode["scratch"].model.weights == ""


def test_a_folder_is_found_wherever_the_job_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert campaign_with("model").models["theirs"].weights == "/model"


def test_a_model_with_neither_pretraining_nor_weights_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"probe\.before\.models: 'theirs' is none of"):
        campaign_with("")
    with pytest.raises(DeclarationError, match=r"needs a \[pretrain\] section, whose models it"):
        campaign_with("folder", models=[])
