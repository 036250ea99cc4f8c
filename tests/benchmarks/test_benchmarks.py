import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.data.preparation.neighbours import later_neighbours
from pipeline.training.models.scan import scan
from tests.benchmarks import samples
from tests.benchmarks.neighbours import NEIGHBOURS, dense, sorted_points
from tests.benchmarks.scan import CHANNELS, HEADS, STATE, naive

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_table_has_a_line_for_every_subject():
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "0.05", "--repeats", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for subject in ("read points", "stage npz", "neighbours", "Mamba2 scan", "ledger"):
        assert subject in ended.stdout
    assert ended.stdout.count("limit:") == 5


def test_both_ways_find_the_same_neighbours():
    events, normal = sorted_points(samples.events(3))
    ours = later_neighbours(normal, events.offsets, NEIGHBOURS)
    start, stop = events.offsets[:2]
    theirs = dense(normal, events.offsets[:2])[0]
    whole = slice(start, stop - NEIGHBOURS - 1)
    # cdist rounds differently, so equal distances may change places
    same = ours[whole] == theirs.numpy()[whole]
    assert same.mean() > 0.99


def test_both_scans_compute_the_same():
    torch.manual_seed(2)
    points = 150
    x, dt = torch.randn(points, HEADS, CHANNELS).double(), torch.rand(points, HEADS).double()
    a, b, c = -torch.rand(HEADS).double(), *torch.randn(2, points, STATE).double()
    event = (torch.arange(points) >= 70).long()
    torch.testing.assert_close(scan(x, dt, a, b, c, event), naive(x, dt, a, b, c, event))
