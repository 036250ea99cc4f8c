"""What the page says of trainings that learned something of a part of each batch only."""

from pipeline import records
from pipeline.records import Trained
from pipeline.report import write_report

SENTENCE = "part: batch norm is over 64 of the 256 events of a batch"


def test_a_page_says_over_how_many_events_batch_norm_was(whole, campaign, site):
    title = "Some of what was learned depends on how batches were divided."
    assert title not in write_report(whole, campaign, site).read_text()
    tasks = [each for each in campaign.tasks(whole) if each.stage == "pretrain"]
    path = whole.task(tasks[0].key).result
    told = records.read(path, Trained)
    records.write(path, told.model_copy(update={"extra": {"taken_together": SENTENCE}}))
    page = " ".join(write_report(whole, campaign, site).read_text().split())
    assert title in page
    assert f"<li>{SENTENCE}. So in {tasks[0].key}.</li>" in page
