"""The verb plan, beyond what every campaign shows."""

import csv
import io
import json

import pytest
from whole_campaign import TINY

from pipeline import catalog
from pipeline.outcome import Exit
from pipeline.run import Run
from pipeline.writing import write_text


def test_a_large_plan_has_a_row_for_each_kind_of_task(cosmotron, tmp_path):
    words = ("plan", "fm4npp", "--site", "perlmutter", "--root", tmp_path)
    told = cosmotron(*words)
    assert told.code == 0, told.err
    assert "and 719 more" in told.out
    assert len(told.out.splitlines()) < 45
    every = cosmotron(*words, "--all")
    assert "719 more" not in every.out
    assert len(every.out.splitlines()) > 1500


def test_it_stands_beside_the_cap_and_the_arithmetic(cosmotron, tmp_path):
    told = cosmotron("plan", "fm4npp", "--site", "perlmutter", "--root", tmp_path)
    assert "87 trainings of 5.4e+21 FLOP:" in told.words
    assert "node-hours at an MFU of 40%, a guess until it is measured" in told.words
    assert "The campaign's cap is 58,134 node-hours:" in told.words
    assert "times as many events, or run" in told.words


def test_a_measured_mfu_is_taken_and_said(cosmotron, tmp_path):
    run = Run(tmp_path, "fm4npp")
    line = {"seconds": 1.0, "data_seconds": 0.1, "mfu": 0.2}
    lines = "".join(json.dumps(line) + "\n" for _ in range(3))
    write_text(run.task("pretrain/m6-d10000000-s1").metrics, lines)
    words = ("plan", "fm4npp", "--site", "perlmutter", "--root", tmp_path, "--json")
    before = json.loads(cosmotron(*words[:-2], tmp_path / "other", "--json").out)["by_arithmetic"]
    after = json.loads(cosmotron(*words).out)["by_arithmetic"]
    assert after["arithmetic_node_hours"] > before["arithmetic_node_hours"]
    assert after["flops"] == before["flops"]


def test_a_plan_for_a_spreadsheet(cosmotron, tmp_path):
    told = cosmotron("plan", TINY, "--site", "frontier", "--root", tmp_path, "--csv")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert len(rows) == 11
    assert {"task", "nodes", "links", "node_hours", "required_mfu"} <= rows[0].keys()
    both = cosmotron("plan", TINY, "--site", "frontier", "--root", tmp_path, "--csv", "--json")
    assert both.code == Exit.USAGE
    assert "--json and --csv exclude each other." in both.words


def test_what_is_learned_of_a_part_of_a_batch_is_said(cosmotron, tmp_path):
    words = ("--site", "perlmutter", "--root", tmp_path)
    assert "batch norm" not in cosmotron("plan", "part-quick", *words).out
    file, text = tmp_path / "mine.toml", (catalog.folder("jobs") / "campaigns/part-quick.toml")
    file.write_text(
        text.read_text().replace("batch_events = 32\n", "batch_events = 32\nmicro_events = 4\n")
    )
    said = "part: batch norm is over 4 of the 32 events of a batch, those that all processes take"
    assert said in cosmotron("plan", file, *words).words
    as_json = json.loads(cosmotron("plan", file, *words, "--json").out)
    assert any(each.startswith(said) for each in as_json["of_parts_of_batches"])


@pytest.mark.parametrize("words", [[], ["--root", "$SCRATCH/mine"]])
def test_a_run_in_a_folder_of_another_machine_is_refused(cosmotron, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    for verb in ("run", "stop"):
        told = cosmotron(verb, "quickstart", "--site", "perlmutter", *words)
        assert told.code == Exit.USAGE
        assert "not set on this machine. Give a folder" in told.words
    assert not list(tmp_path.iterdir())


def test_the_queue_of_each_training_is_named_where_they_differ(cosmotron, tmp_path):
    told = cosmotron("plan", "fm4npp", "--site", "polaris", "--root", tmp_path)
    assert told.code == 0, told.err
    assert "1 × 8 node(s) × 38 to 3,720 min, preemptable" in told.words
    assert "1 to 25 × 16 node(s) × 42 to 180 min, prod" in told.words
    one = cosmotron("plan", "fm4npp", "--site", "polaris", "--root", tmp_path, "--qos", "prod")
    assert one.code == Exit.USAGE
    assert "QOS 'prod' takes 10 nodes at least, not 1." in one.words
