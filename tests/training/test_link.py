import pytest

pytest.importorskip("torch")

from pipeline.job import Job
from pipeline.scheduler.script import of_link
from pipeline.site import load_site
from pipeline.training.link.here import this_link


def test_a_link_knows_what_its_batch_script_says(monkeypatch, tmp_path):
    job = Job(
        key="sizes.1",
        folder=tmp_path,
        command=("true",),
        node="gpu",
        nodes=16,
        processes_per_node=4,
        walltime_minutes=120,
    )
    site = load_site("perlmutter")
    for name, value in of_link(job, site).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COSMOTRON_STARTED", "1000")
    monkeypatch.setenv("COSMOTRON_ENDS", "8200")
    monkeypatch.setenv("COSMOTRON_JOB_ID", "42")
    link = this_link()
    assert (link.key, link.job_id, link.nodes) == ("sizes.1", "42", 16)
    assert link.ends == 1000 + 7200
    assert link.signal_lead_seconds == site.signal_lead_seconds
    assert link.peak_tflops == site.nodes["gpu"].peak_tflops
    assert link.mean_seconds_to_failure == pytest.approx(1000 * 86400 / (16 * site.node_failures))


def test_without_a_script_nothing_is_known(monkeypatch):
    for name in ("LINK", "ENDS", "NODES", "NODE_FAILURES", "PEAK_TFLOPS_FP32"):
        monkeypatch.delenv(f"COSMOTRON_{name}", raising=False)
    link = this_link()
    assert (link.ends, link.mean_seconds_to_failure, link.peak_tflops) == (None, None, {})
