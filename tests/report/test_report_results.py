"""Results of each downstream task on the page, and against labels."""

import re

import pytest
from report_fixtures import evaluation

from pipeline import records
from pipeline.campaign import Campaign, load_campaign
from pipeline.downstream import restored
from pipeline.downstream.clusters.spec import ClusterTask
from pipeline.records import Evaluated
from pipeline.report.labels import COLOURS, labels_chart
from pipeline.report.results import TaskResults, chosen, results, sections
from pipeline.report.scores import Setting, best, model_name, settings


def result_of(found, head="tracks"):
    return TaskResults("tracking", restored({}, head), found, settings(found))


def section(page, name):
    """Return the words of the results of one fine-tuning."""
    html = re.search(rf"<h3>{name} <span.*?(?=<h3>|<h2 )", page, re.DOTALL)[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("tracks, clusters, edges", "track finding Setting Labelled events Runs ARI"),
        (
            "particles",
            "particle identification Setting Labelled events Runs Accuracy Recall, macro",
        ),
        ("noise", "noise tagging Setting Labelled events Runs Accuracy"),
        ("momentum", "momentum regression Setting Labelled events Runs pT resolution pT bias"),
        ("jets", "jet classification Setting Labelled events Runs Accuracy AUC 1/εB at εS = 0.5"),
        ("direction", "neutrino direction Setting Labelled events Runs Mean angle, rad"),
    ],
)
def test_each_task_has_a_table_of_its_own_scores(page_of_every_task, name, first):
    words = section(page_of_every_task, name)
    assert first in words
    assert "scratch m0" in words
    assert re.search(r" 1,000 2 [\d.]+ ± ", words)
    assert "The configuration behind each number" in words


def test_what_a_score_means_stands_below_the_table(page_of_every_task):
    assert "mean opening angle, rad" in section(page_of_every_task, "direction")


def test_the_head_of_the_page_has_the_best_of_each_task(page_of_every_task):
    head = page_of_every_task.partition("<h2 ")[0]
    assert re.search(r"Best Mean angle, rad</dt><dd>0\.\d+ <small>frozen, direction", head)


@pytest.mark.parametrize(
    ("head", "score", "values", "wanted"),
    [
        ("tracks", "ari", (0.8, 0.9), 0.9),
        ("tracks", "fake_rate", (0.2, 0.1), 0.1),
        ("momentum", "relative_bias", (-0.2, 0.01), 0.01),
        ("momentum", "relative_bias", (0.3, -0.02), -0.02),
        ("direction", "mean_angle_rad", (1.2, 0.9), 0.9),
    ],
)
def test_the_best_is_what_is_better_and_not_what_is_more(head, score, values, wanted):
    found = [Setting([evaluation(value, name=score)]) for value in values]
    assert best(found, score, restored({}, head)).mean(score) == wanted


def test_of_a_score_that_nobody_has_nothing_is_best():
    assert best([Setting([evaluation(0.5)])], "fake_rate", restored({}, "tracks")) is None


def test_where_a_rejection_is_endless_nobody_is_the_best():
    found = [
        evaluation(v, name="rejection_50", mode=m)
        for v, m in ((float("nan"), "full"), (9.0, "lora"))
    ]
    assert result_of(found, "jets").best == {}
    found = [evaluation(v, name="rejection_50", mode=m) for v, m in ((8.0, "full"), (9.0, "lora"))]
    assert result_of(found, "jets").best["rejection_50"].configuration.mode == "lora"


def test_an_interval_without_end_keeps_its_beginning(tmp_path):
    found = evaluation(50.0, name="rejection_50", interval=[40.0, float("inf")])
    records.write(tmp_path / "result.json", found.result)
    again = records.read(tmp_path / "result.json", Evaluated)
    assert again.intervals == {"rejection_50": (40.0, float("inf"))}
    assert Setting([found]).interval("rejection_50") == (40.0, float("inf"))


def test_classes_of_jets_have_a_rejection_each():
    found = [evaluation({"accuracy": 0.8, "rejection_Hbb": 50.0})]
    shown = result_of(found, "jets").shown
    assert shown == {"accuracy": "Accuracy", "rejection_Hbb": "1/εB, Hbb"}


def test_what_several_scores_mean_is_said_once():
    about = {"rejection_Hbb": "at 50 %", "rejection_Hcc": "at 50 %"}
    scores = {"accuracy": 0.8, "rejection_Hbb": 50.0, "rejection_Hcc": 40.0}
    found = [evaluation(scores, about=about or {})]
    assert result_of(found, "jets").explained == {"at 50 %": ["1/εB, Hbb", "1/εB, Hcc"]}


TRACKING, JETS = load_campaign("tracking-baselines"), load_campaign("jet-models")


def sections_of(campaign):
    """Return the names of the fine-tunings in each section, if each has one result."""
    told = [
        evaluation(0.5, finetuning=name, task=asked.head)
        for name, asked in campaign.finetune.items()
    ]
    found = sections(results(told), campaign)
    return [tuple(each.name for each in section.members) for section in found]


def changed(campaign, name, **fields):
    """Return `campaign` with the `fields` of one fine-tuning, and of its head."""
    declared = campaign.model_dump()
    declared["finetune"][name] |= fields
    return Campaign.model_validate(declared)


def test_all_ways_to_find_tracks_of_one_store_are_in_one_table():
    assert sections_of(TRACKING) == [("full", "frozen", "alone", "eggnet", "exatrkx")]
    told = [
        evaluation(0.4, finetuning="full", mode="full"),
        evaluation(0.6, finetuning="eggnet", task=ClusterTask(), mode="scratch"),
    ]
    (section,) = sections(results(told), TRACKING)
    assert section.whole.name == "full, eggnet"
    assert section.whole.leader.configuration.finetuning == "eggnet"
    assert section.whole.evaluations == told


def test_jets_and_their_tokens_are_the_same_jets():
    assert sections_of(JETS) == [("classes", "tokens")]


def test_other_classes_or_other_events_are_in_another_table():
    head = JETS.finetune["tokens"].head.model_dump() | {"classes": ["QCD", "other"]}
    assert sections_of(changed(JETS, "tokens", head=head)) == [("classes",), ("tokens",)]
    on_train = changed(TRACKING, "eggnet", test_split="train")
    assert sections_of(on_train) == [("full", "frozen", "alone", "exatrkx"), ("eggnet",)]


def test_a_model_that_its_fine_tuning_changed_keeps_its_name():
    campaign = changed(JETS, "classes", models=["part"], changes={"dropout": 0.2})
    whole = campaign.models["part"]
    other = campaign.finetune["classes"].model_of(whole)
    assert other != whole
    assert model_name(other.model_dump(mode="json"), campaign, "classes") == "part"
    assert model_name(whole.model_dump(mode="json"), campaign, "tokens") == "part"
    assert model_name(other.model_dump(mode="json"), campaign) is None


def test_pictures_are_of_the_most_labels_and_the_most_pretraining():
    found = [
        evaluation(0.9, labels=100, pretraining_events=500),
        evaluation(0.8, labels=1000, pretraining_events=5),
        evaluation(0.7, labels=1000, pretraining_events=50),
        evaluation(0.6, mode="scratch", labels=10),
    ]
    picked = chosen(result_of(found))
    assert [each.result.scores["ari"] for each in picked.values()] == [0.7, 0.6]


def lines_of(figure):
    return {each.get_label(): each for each in figure.axes[0].containers}


def test_a_line_for_each_mode_with_the_deviation_over_seeds():
    found = [evaluation(0.5 + 0.1 * s, s, labels=n) for s in (1, 2, 3) for n in (100, 1000)]
    found += [evaluation(0.4, mode="scratch", labels=n) for n in (100, 1000)]
    lines = lines_of(labels_chart(result_of(found)))
    assert set(lines) == {"full", "scratch"}
    middle, _, (bars,) = lines["full"]
    assert middle.get_color() == COLOURS["full"]
    assert [float(each) for each in middle.get_ydata()] == pytest.approx([0.7, 0.7])
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(0.6), pytest.approx(0.8))


def test_one_seed_has_the_interval_over_events_as_its_error_bar():
    found = [evaluation(0.5, labels=n, interval=[0.3, 0.6]) for n in (100, 1000)]
    *_, (bars,) = lines_of(labels_chart(result_of(found)))["full"]
    assert bars.get_segments()[0][:, 1].tolist() == [pytest.approx(0.3), pytest.approx(0.6)]


def test_models_are_told_apart_where_there_are_several():
    found = [evaluation(0.5, labels=n, model=m) for n in (100, 1000) for m in ("m1", "m2")]
    assert set(lines_of(labels_chart(result_of(found)))) == {"full, m1", "full, m2"}


def test_of_many_models_the_colour_is_the_models_and_the_dash_the_modes():
    models, modes = [f"m{n}" for n in range(6)], ["full", "scratch"]
    found = [
        evaluation(0.5, labels=n, model=model, mode=mode)
        for n in (100, 1000)
        for model in models
        for mode in modes
    ]
    lines = {name: line for name, (line, *_) in lines_of(labels_chart(result_of(found))).items()}
    looks = {(line.get_color(), line.get_linestyle()) for line in lines.values()}
    assert len(looks) == len(lines) == 12
    for model in models:
        full, scratch = (lines[f"{mode}, {model}"] for mode in modes)
        assert full.get_color() == scratch.get_color()
        assert full.get_marker() != scratch.get_marker()


def test_lines_of_two_fine_tunings_are_told_apart():
    found = [evaluation(0.5, labels=n, finetuning=t) for n in (100, 1000) for t in ("sum", "token")]
    assert set(lines_of(labels_chart(result_of(found)))) == {"full, sum", "full, token"}


def test_jets_are_drawn_by_accuracy_and_by_auc():
    found = [evaluation({"accuracy": 0.8, "auc": 0.9}, labels=n) for n in (100, 1000)]
    figure = labels_chart(result_of(found, "jets"))
    assert [axes.get_ylabel() for axes in figure.axes] == ["Accuracy", "AUC"]


def test_one_count_of_labels_makes_no_chart():
    assert labels_chart(result_of([evaluation(0.5), evaluation(0.6, mode="scratch")])) is None
