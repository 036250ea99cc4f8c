import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.data.preparation.neighbours import later_neighbours
from pipeline.families import Reads
from pipeline.nn.lengths import Lengths
from pipeline.nn.scan import scan
from tests.benchmarks import attention, graphs, interactions, predicting, samples, transformers
from tests.benchmarks.neighbour_cost import Cost, campaign
from tests.benchmarks.neighbours import NEIGHBOURS, dense, sorted_points
from tests.benchmarks.scan import CHANNELS, HEADS, STATE, naive

ROOT = Path(__file__).parents[2]


SUBJECTS = (
    "stage IceCube parquet",
    "stage npz",
    "cosmotron stage",
    "load sphenix",
    "load jets",
    "cold",
    "bytes on disk",
    "read points",
    "neighbours",
    "10 nearest in a learnt space",
    "10 nearest, memory",
    "Mamba2 scan",
    "Mamba scan",
    "attention, full",
    "attention, causal",
    "pairwise attention, forward and backward",
    "pairwise attention, memory",
    "transformer, forward and backward",
    "transformer, causal training step",
    "engine step, m0, ZeRO 1, 2 ranks against 1" if len(os.sched_getaffinity(0)) > 1 else "ledger",
    "predict jets",
    "memory, predictions",
    "ledger",
)


@pytest.mark.slow
def test_the_table_has_a_line_for_every_subject(tmp_path):
    pytest.importorskip("mmap_ninja", reason="`make bench` installs the rivals")
    written = tmp_path / "lines.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "0.05", "--repeats", "1"]
    command += ["--json", str(written)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    there = {line["what"] for line in json.loads(written.read_text())["lines"]}
    for subject in SUBJECTS:
        assert any(subject in what for what in there)
        assert subject in ended.stdout


def test_a_profile_tells_of_every_thread():
    pytest.importorskip("mmap_ninja", reason="`make bench` installs the rivals")
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "0.1", "--profile"]
    ended = subprocess.run(
        [*command, "load-jets"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "decompress" in ended.stdout


def test_rivals_deliver_every_point_once(tmp_path):
    pytest.importorskip("mmap_ninja", reason="`make bench` installs the rivals")
    from tests.benchmarks import rivals

    jets = samples.jets(30)
    makers = (rivals.memmap, rivals.mmap_ninja, rivals.padded_hdf5, rivals.parquet)
    for make in makers:
        parts = list(make(tmp_path / make.__name__, jets)(7))
        points = np.concatenate([points for points, _ in parts])
        sizes = np.concatenate([np.diff(offsets) for _, offsets in parts])
        assert sorted(map(tuple, points)) == sorted(map(tuple, jets.points)), make.__name__
        assert sorted(sizes) == sorted(jets.sizes), make.__name__


def test_a_subject_needs_the_packages_of_no_other(tmp_path):
    (tmp_path / "mmap_ninja.py").write_text("raise ModuleNotFoundError('not installed')\n")
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "0.01", "--repeats", "1"]
    ended = subprocess.run(
        [*command, "--only", "ledger"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "ledger" in ended.stdout


def test_what_is_kept_of_events_is_held_to_their_store(tmp_path):
    work = predicting.prepared(tmp_path, 5000)
    assert work.done_together()
    labels = replace(work.source, reads=Reads((), per_event=("label",)))
    path, table = work.folder.predictions, pq.read_table(work.folder.predictions)
    assert list(predicting.faults(path, labels)) == []

    def faults(changed):
        pq.write_table(changed, path)
        return list(predicting.faults(path, labels))

    swapped = [*range(3000), 3001, 3000, *range(3002, 5000)]
    assert "events 2048 to 3072: other ids, or in another order" in faults(table.take(swapped))
    twice = [*range(3000), 2999, *range(3001, 5000)]
    assert "1 events are missing, or there twice" in faults(table.take(twice))
    assert "more rows than the 5000 events of the store" in faults(pa.concat_tables([table] * 2))
    assert "events 4096 to 5000: other labels" in faults(table.slice(0, 4096))
    where = table.column_names.index("truth_label")
    other = table.set_column(where, "truth_label", pa.array(np.full(5000, 77, np.int8)))
    assert faults(other)[0] == "events 0 to 1024: other labels"


def test_a_campaign_weighs_storing_against_computing():
    cost = Cost(
        points=800,
        stage_s={True: 3.6, False: 1.8},
        stored_bytes={True: 2e3, False: 1e3},
        load_s={True: 0.36, False: 0.18},
        compute_s=1.8,
    )
    ways = campaign(cost, epochs=1)
    assert ways["stored"]["core_hours"] == pytest.approx(1e4 + 22.71e6 * 9 * 1e-4)
    assert ways["computed"]["core_hours"] == pytest.approx(5e3 + 22.71e6 * 9 * 5.5e-4)
    assert ways["stored"]["disk_gb"] == 2 * ways["computed"]["disk_gb"] == pytest.approx(20)


def test_both_ways_find_the_same_neighbours():
    events, normal = sorted_points(samples.events(3))
    ours = later_neighbours(normal, events.offsets, NEIGHBOURS)
    start, stop = events.offsets[:2]
    theirs = dense(normal, events.offsets[:2])[0]
    whole = slice(start, stop - NEIGHBOURS - 1)
    # cdist rounds differently, so equal distances may change places
    same = ours[whole] == theirs.numpy()[whole]
    assert same.mean() > 0.99


def test_all_ways_make_the_same_graph():
    points, offsets = graphs.learnt(300), torch.tensor([0, 80, 300])
    places = graphs.dense(points, offsets)
    found = graphs.ours(points, offsets)
    for number, (start, stop) in enumerate(pairwise(offsets.tolist())):
        mine = found[:, (found[1] >= start) & (found[1] < stop)] - start
        theirs = places[number, : stop - start].sort().values
        assert torch.equal(mine[0].view(-1, graphs.NEIGHBOURS), theirs)
    rows = [each.shape[1] for each in graphs.by_rows(points, offsets)]
    assert sum(rows) == found.shape[1]


def test_memory_is_what_a_call_needs_at_most():
    assert graphs.memory(lambda: np.ones(50_000_000).sum()) > 3e8
    assert graphs.memory(lambda: None) < 1e7


def test_both_scans_compute_the_same():
    torch.manual_seed(2)
    points = 150
    x, dt = torch.randn(points, HEADS, CHANNELS).double(), torch.rand(points, HEADS).double()
    a, b, c = -torch.rand(HEADS).double(), *torch.randn(2, points, STATE).double()
    lengths = Lengths.of(torch.tensor([0, 70, points]))
    found = scan(x, dt, a, b, c, lengths)
    torch.testing.assert_close(found, naive(x, dt, a, b, c, lengths.event))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("causal", [False, True])
def test_all_ways_of_attention_compute_the_same(causal):
    sizes = [3, 60, 3, 1, 58, 4]
    packed = torch.randn(sum(sizes), 3, 2, 8, generator=torch.Generator().manual_seed(5)).double()
    ways = attention.others(sizes)
    if causal:
        del ways["jagged tensors"]
    for name, way in ways.items():
        expected = attention.ours(packed, sizes, causal=causal)
        torch.testing.assert_close(way(packed, causal), expected, msg=name)


@pytest.mark.parametrize(("causal", "mask"), [(False, True), (True, True), (True, False)])
def test_packed_and_padded_transformers_are_the_same_model(causal, mask):
    torch.manual_seed(6)
    sizes = [5, 1, 9, 9]
    ours, theirs, x = transformers.Packed(), transformers.plain(), transformers.tokens(sizes)
    named = dict(theirs.named_parameters())
    for number, layer in enumerate(ours.layers):
        pairs = {
            "self_attn.in_proj_": layer.attention.qkv,
            "self_attn.out_proj.": layer.attention.out,
            "linear1.": layer.feed_forward.up,
            "linear2.": layer.feed_forward.down,
            "norm1.": layer.norms[0],
            "norm2.": layer.norms[1],
        }
        for name, part in pairs.items():
            for which, parameter in part.named_parameters():
                named.pop(f"layers.{number}.{name}{which}").data.copy_(parameter)
    assert not named
    found = transformers.packed_loss(ours, x, sizes, causal=causal)
    expected = transformers.padded_loss(theirs, x, sizes, causal=causal, mask=mask)
    torch.testing.assert_close(found(), expected())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("length", [128, 90])
def test_pairwise_attention_is_the_same_packed_and_padded(length, half):
    made = samples.jets(6)
    momenta = torch.from_numpy(made.points[:, :4].copy()).float()
    work = interactions.Work(made.sizes.tolist(), momenta)
    ours, slopes = work.packed(), work.qkv.grad
    weight = work.embedding.net[1].weight.grad.clone()
    theirs = work.padded(length, half=half)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(slopes, work.qkv.grad, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(weight, work.embedding.net[1].weight.grad, rtol=1e-3, atol=1e-5)
