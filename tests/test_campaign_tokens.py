"""Campaigns with tokenizers: a stage of its own, between staging and pretraining."""

from pathlib import Path

import pytest

from pipeline import catalog
from pipeline.campaign import SHELF, Campaign, TokenizeTask, load_campaign
from pipeline.catalog import DeclarationError
from pipeline.planning.plan import PROGRAMS, RunOptions, make_plan
from pipeline.run import Run
from pipeline.site import load_site

QUICK = catalog.find(SHELF, "omnijet-quick")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "omnijet-quick")


def changed(tmp_path: Path, old: str, new: str) -> Campaign:
    """The quick campaign, with one thing written differently."""
    text = QUICK.read_text()
    assert old in text
    path = tmp_path / "changed.toml"
    path.write_text(text.replace(old, new, 1))
    return load_campaign(str(path))


def test_what_is_pretrained_on_tokens_waits_for_them_and_reads_them(run: Run) -> None:
    tasks = {task.key: task for task in load_campaign("omnijet-quick").tasks(run)}
    assert list(tasks) == [
        "simulate/jets",
        "stage/jets",
        "tokenize/tokens",
        "pretrain/small-d1100-s1",
        "probe/generated-small-d1100-s1",
    ]
    tokenize = tasks["tokenize/tokens"]
    pretrain, probe = list(tasks.values())[3:]
    assert tokenize.needs == ("stage/jets",)
    assert (tokenize.jets, tokenize.store) == (run.store("jets"), run.store("tokens"))
    assert pretrain.needs == ("tokenize/tokens",)
    assert probe.needs == (pretrain.key, "tokenize/tokens")
    assert pretrain.store == probe.store == run.store("tokens")


def test_tokenising_is_a_chain_of_batch_jobs(run: Run) -> None:
    tasks = load_campaign("omnijet-quick").tasks(run)
    plan = make_plan(tasks, run, load_site("testbed"), RunOptions(project="m1"))
    step = next(each for each in plan.steps if isinstance(each.task, TokenizeTask))
    assert not step.in_pilot
    assert step.nodes == 1
    job = plan.link(step, 1)
    assert job.command[2] == PROGRAMS["tokenize"] == "pipeline.training.programs.tokenize"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "codes = 512\nwidth",
            "codes = 8192\nwidth",
            r"has 512 codes; models.small expects 8192. Set codes = 512, or tokenise with 8192",
        ),
        (
            '[pretrain]\ndataset = "tokens"',
            '[pretrain]\ndataset = "jets"',
            r"models.small: takes tokens, and 'jets' is none of \[tokenizers\]",
        ),
        ("[tokenizers.tokens.model]", "[tokenizers.jets.model]", "dataset"),
        ('[tokenizers.tokens]\ndataset = "jets"', '[tokenizers.tokens]\ndataset = "no"', "'no'"),
        ("[tokenizers.tokens.training]", "[simulations.other]", "vqvae is learnt; say how in"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        changed(tmp_path, old, new)


def test_a_tokenizer_may_not_have_the_name_of_a_dataset(tmp_path: Path) -> None:
    text = QUICK.read_text().replace("tokenizers.tokens", "tokenizers.jets")
    path = tmp_path / "changed.toml"
    path.write_text(text.replace('dataset = "tokens"', 'dataset = "jets"'))
    with pytest.raises(DeclarationError, match=r"tokenizers.jets: a dataset has this name"):
        load_campaign(str(path))


def test_bins_need_no_training(tmp_path: Path, run: Run) -> None:
    text = QUICK.read_text()
    start, stop = text.index("[tokenizers.tokens.model]"), text.index("[models.small]")
    bins = '[tokenizers.tokens.model]\nfamily = "binning"\nbins = [8, 8, 8]\n\n'
    path = tmp_path / "changed.toml"
    path.write_text(text[:start] + bins + text[stop:])
    task = next(t for t in load_campaign(str(path)).tasks(run) if isinstance(t, TokenizeTask))
    assert task.model.codes == 512
    assert task.model.parameters().total == 0


REAL_JETS = """
[datasets.real]
experiment = "jetclass"
simulation = "jets"

[tokenizers.real-tokens]
dataset = "real"
like = "tokens"

[models.small]"""


def test_other_jets_become_tokens_by_a_tokenizer_that_is_trained(tmp_path: Path, run: Run) -> None:
    campaign = changed(tmp_path, "\n[models.small]", REAL_JETS)
    tasks = {task.key: task for task in campaign.tasks(run)}
    task = tasks["tokenize/real-tokens"]
    assert isinstance(task, TokenizeTask)
    assert task.needs == ("stage/real", "tokenize/tokens")
    assert task.trained == run.task("tokenize/tokens").path
    assert task.model == campaign.tokenizers["tokens"].model
    keys = list(tasks)
    assert keys.index("tokenize/tokens") < keys.index("tokenize/real-tokens")


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ('like = "real-tokens"', r"tokenizers.real-tokens.like: 'real-tokens' is none of: tokens"),
        ("seed = 2", "give either model, or like"),
    ],
)
def test_a_tokenizer_is_its_own_or_another_s(tmp_path: Path, new: str, message: str) -> None:
    asked = REAL_JETS.replace('like = "tokens"', new)
    with pytest.raises(DeclarationError, match=message):
        changed(tmp_path, "\n[models.small]", asked)
