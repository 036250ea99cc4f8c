"""A campaign whose model starts from a folder of weights."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.campaign import Campaign, load_campaign
from pipeline.catalog import DeclarationError, parse
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


def test_a_campaign_starts_from_a_folder_without_pretraining(tmp_path: Path) -> None:
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


def test_a_model_with_neither_pretraining_nor_weights_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"probe\.before\.models: 'theirs' is none of"):
        campaign_with("")
    with pytest.raises(DeclarationError, match=r"needs a \[pretrain\] section, whose models it"):
        campaign_with("folder", models=[])
