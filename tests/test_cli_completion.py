"""What a shell completes, as it asks: by an environment variable and the words so far."""

import os
import subprocess
import sys

import pytest

from pipeline.cli import completion

COSMOTRON = "import sys; sys.argv = ['cosmotron']; from pipeline.cli import main; main()"


def asked(folder, **environment):
    """What the command prints to a shell that asks by the environment."""
    return subprocess.run(
        [sys.executable, "-c", COSMOTRON],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def completed(words, folder):
    """What bash would offer for the last of `words`."""
    at = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return asked(folder, _COSMOTRON_COMPLETE="complete_bash", **at).split()


def test_a_shell_gets_campaigns_and_sites(tmp_path):
    assert completed(["cosmotron", "run", "quick"], tmp_path)[0] == "quickstart"
    assert completed(["cosmotron", "plan", "quickstart", "--site", "per"], tmp_path) == [
        "perlmutter"
    ]


def test_a_shell_gets_the_tasks_of_a_campaign(tmp_path):
    words = ["cosmotron", "logs", "quickstart", "pretrain/"]
    assert completed(words, tmp_path) == ["pretrain/m0-d960-s1"]


def test_of_a_campaign_that_cannot_be_read_there_are_no_tasks(tmp_path):
    (tmp_path / "bad.toml").write_text("name = ")
    assert completed(["cosmotron", "logs", "bad.toml", ""], tmp_path) == []


def test_files_beside_the_declared_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / "minor").mkdir()
    assert completion.campaigns("mi") == ["mine.toml", "minor/"]
    (tmp_path / "minor" / "a.toml").touch()
    assert completion.sites("minor/") == ["minor/a.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell, tmp_path):
    assert "cosmotron" in asked(tmp_path, _COSMOTRON_COMPLETE=f"source_{shell}")


def test_families():
    assert completion.families("omnijet") == [
        name for name in completion.families("") if name.startswith("omnijet")
    ]
