"""k-means and codes that move learn from the global batch, however it is divided."""

import pytest

torch = pytest.importorskip("torch")

from dataclasses import replace

from made_batches import packed, part

from pipeline.nn.collectives import Collectives, conclude, connect, counting
from pipeline.nn.k_means import Sample, k_means
from pipeline.nn.quantiser import Quantiser

WHOLE = replace(packed([30, 1, 50, 19, 100]), seed=2)
PARTS = ([3, 1], [0, 4], [2])


def test_centres_are_the_same_from_a_batch_in_any_parts():
    expected = k_means(WHOLE.points, [WHOLE], 8, Collectives())
    parts = [part(WHOLE, events) for events in PARTS]
    points = torch.cat([each.points for each in parts])
    torch.testing.assert_close(k_means(points, parts, 8, Collectives()), expected)
    other = k_means(WHOLE.points, [replace(WHOLE, seed=3)], 8, Collectives())
    assert not torch.allclose(other, expected)


def test_a_sample_is_of_the_lowest_lots_of_all_processes():
    """Two processes: what each gives, the other has too."""
    points, lots = torch.arange(20.0).view(10, 2), torch.arange(10).flip(0)
    first, second = (Sample.of(4, points[at], lots[at]) for at in (slice(0, 7), slice(7, 10)))
    given = iter([torch.cat([first.lots, torch.tensor([*second.lots, 2**63 - 1])])])
    rest = iter([torch.cat([first.points, second.points, torch.zeros(1, 2)])])
    several = Collectives(
        all_reduce_sum=lambda values: values + second.moments,
        all_gather=lambda values: next(given if values.ndim == 1 else rest),
    )
    found = first.of_all(several)
    assert found.lots.tolist() == [0, 1, 2, 3]
    assert torch.equal(found.points, points.flip(0)[:4])
    assert torch.equal(found.moments, Sample.of(4, points, lots).moments)


def moved(batches, *, repeated=None):
    """Where codes of which most are dead are after two steps of these micro-batches."""
    torch.manual_seed(0)
    quantiser = Quantiser(16, 4, beta=0.9, sync=1, replacement_steps=2).train()
    connect(quantiser, Collectives())
    quantiser.moved[4:] += 1000.0
    for _ in range(2):
        for batch in batches:
            quantiser(batch.points, batch)
        if repeated is not None:
            with counting(quantiser, counts=False):
                quantiser(repeated.points, repeated)
        conclude(quantiser)
    assert int(quantiser.steps) == 2
    return quantiser.codebook.detach()


def test_dead_codes_move_to_the_same_points_in_any_micro_batches():
    whole = moved([WHOLE])
    assert whole.abs().max() < 100
    parts = [part(WHOLE, events) for events in PARTS]
    torch.testing.assert_close(moved(parts), whole)
    torch.testing.assert_close(moved(parts, repeated=part(WHOLE, [2])), whole)
