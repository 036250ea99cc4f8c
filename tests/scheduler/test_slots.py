import multiprocessing
import time
from multiprocessing.synchronize import Event as Flag
from pathlib import Path

from pipeline.scheduler import slots

PROCESSES = multiprocessing.get_context("spawn")


def hold(folder: Path, devices: int, held: Flag, release: Flag) -> None:
    with slots.held(folder, devices=devices, of=2, poll_seconds=0.01):
        held.set()
        release.wait(20)


class Job:
    """A process that holds devices until it is told to end."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.held, self.release = PROCESSES.Event(), PROCESSES.Event()
        self.process = PROCESSES.Process(
            target=hold, args=(folder, devices, self.held, self.release), daemon=True
        )
        self.process.start()

    def end(self) -> None:
        self.release.set()
        self.process.join(10)


def test_two_small_jobs_run_at_once_and_a_large_one_waits(tmp_path: Path) -> None:
    small = [Job(tmp_path, 1), Job(tmp_path, 1)]
    assert all(job.held.wait(10) for job in small)
    large = Job(tmp_path, 2)
    assert not large.held.wait(1)
    small[0].end()
    assert not large.held.wait(0.3)
    small[1].end()
    assert large.held.wait(10)
    large.end()


def test_a_killed_job_frees_its_devices(tmp_path: Path) -> None:
    first = Job(tmp_path, 2)
    assert first.held.wait(10)
    second = Job(tmp_path, 2)
    first.process.kill()
    assert second.held.wait(10)
    second.end()


def test_small_jobs_do_not_overtake_a_large_one_that_waits(tmp_path: Path) -> None:
    first = Job(tmp_path, 1)
    assert first.held.wait(10)
    large = Job(tmp_path, 2)
    time.sleep(1.0)  # until it waits
    late = Job(tmp_path, 1)
    assert not late.held.wait(1)
    first.end()
    assert large.held.wait(10)
    large.end()
    assert late.held.wait(10)
    late.end()
