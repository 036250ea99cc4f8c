"""Random numbers of events: known answers, the same wherever an event is, and random."""

import math

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from dataclasses import replace

from made_batches import packed, part

from pipeline.nn import draws

# Lines of tests/kat_vectors of Random123 (D. E. Shaw Research): counter, key, words.
KNOWN = """
philox4x32 10 00000000 00000000 00000000 00000000 00000000 00000000   6627e8d5 e169c58d bc57ac4c 9b00dbd8
philox4x32 10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff   408f276d 41c83b0e a20bc7c6 6d5451fd
philox4x32 10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0   d16cfe09 94fdcceb 5001e420 24126ea1
"""  # noqa: E501
KINDS = {
    "uniform": lambda batch: draws.uniform(batch, "a", 3),
    "one": lambda batch: draws.uniform(batch, "a"),
    "normal": lambda batch: draws.normal(batch, "a", 5),
    "bernoulli": lambda batch: draws.bernoulli(batch, "a", 0.3, 4),
    "integers": lambda batch: draws.integers(batch, "a", 1000, 2),
    "lots": lambda batch: draws.lots(batch, "a"),
    "ranks": lambda batch: draws.ranks(batch, "a"),
}
OF_EVENTS = {
    "uniform": lambda batch: draws.uniform(batch, "a", per="event"),
    "normal": lambda batch: draws.normal(batch, "a", 7, per="event"),
    "integers": lambda batch: draws.integers(batch, "a", batch.sizes, per="event"),
}


def visited(sizes, *, epoch=0, seed=3):
    """A batch of events as a loader gives them."""
    made = packed(sizes)
    ids = torch.arange(len(sizes)) + (7 << 40)  # beyond 32 bits
    return replace(made, event_id=ids, epoch=torch.full((len(sizes),), epoch), seed=seed)


@pytest.mark.parametrize("line", KNOWN.strip().splitlines())
def test_the_generator_gives_the_published_words(line):
    words = [int(word, 16) for word in line.split()[2:]]
    counter, key, expected = words[:4], (words[4], words[5]), words[6:]
    found = draws.philox([torch.tensor([word, word]) for word in counter], key)
    assert [each.tolist() for each in found] == [[word, word] for word in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_s_numbers_are_the_same_wherever_its_event_is(kind):
    whole = visited([5, 1, 17, 4, 2])
    found = KINDS[kind](whole).split(whole.sizes.tolist())
    for order in ([2], [4, 0], [3, 2, 1, 0, 4]):
        there = part(whole, order)
        for number, values in zip(
            order, KINDS[kind](there).split(there.sizes.tolist()), strict=True
        ):
            assert torch.equal(values, found[number])


@pytest.mark.parametrize("kind", OF_EVENTS)
def test_an_event_s_numbers_are_the_same_wherever_it_is(kind):
    whole = visited([5, 1, 17, 4, 2])
    order = [3, 2, 0]
    assert torch.equal(OF_EVENTS[kind](part(whole, order)), OF_EVENTS[kind](whole)[order])


def test_points_before_do_not_change_when_an_event_is_longer():
    short, long = (draws.uniform(visited([size]), "a", 3) for size in (5, 9))
    assert torch.equal(short, long[:5])


def test_seed_epoch_event_purpose_and_component_all_matter():
    first = visited([8, 8])
    numbers = torch.stack(
        [
            draws.uniform(first, "a"),
            draws.uniform(first, "b"),
            draws.uniform(visited([8, 8], epoch=1), "a"),
            draws.uniform(visited([8, 8], seed=4), "a"),
            draws.uniform(replace(first, event_id=first.event_id + 2), "a"),
            draws.uniform(replace(first, event_id=first.event_id - (1 << 32)), "a"),
            *draws.uniform(first, "c", 3).T,
        ]
    )
    assert len(numbers.unique()) == numbers.numel()


def test_a_batch_that_no_loader_gave_is_in_its_first_epoch():
    assert torch.equal(
        draws.uniform(replace(visited([4, 3]), epoch=None), "a"),
        draws.uniform(visited([4, 3]), "a"),
    )


def test_keys_are_the_same_on_every_machine():
    assert draws.key_of(1, "mpm.hidden") == (1124564869, 3271151467)


def many():
    """Events of 1 to 40 points, 200,000 in all."""
    return visited(np.random.default_rng(0).integers(1, 41, 10_000).tolist())


def test_uniform_numbers_are_uniform_and_independent():
    numbers = draws.uniform(many(), "a", 3).double().numpy()
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert numbers.min() >= 0
    assert numbers.max() < 1
    apart = 5 / math.sqrt(len(numbers))
    correlation = np.corrcoef(numbers.T)
    assert np.abs(correlation - np.eye(3)).max() < apart
    following = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]
    assert abs(following) < apart


def test_normal_numbers_are_normal_and_independent():
    numbers = draws.normal(many(), "a", 3).double().numpy()
    for column in numbers.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 5 / math.sqrt(len(numbers))
    assert np.isfinite(numbers).all()


def test_numbers_of_two_purposes_and_of_two_epochs_are_independent():
    batch = many()
    later = replace(batch, epoch=batch.epoch + 1)
    rows = [draws.normal(batch, "a"), draws.normal(batch, "b"), draws.normal(later, "a")]
    correlation = np.corrcoef(torch.stack(rows).double().numpy())
    assert np.abs(correlation - np.eye(3)).max() < 5 / math.sqrt(len(rows[0]))


def test_a_share_is_chosen_and_integers_stay_below():
    batch = many()
    share = draws.bernoulli(batch, "a", 0.3).double().mean().item()
    assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / len(batch.points)))
    found = draws.integers(batch, "a", 6).bincount(minlength=6).numpy()
    assert len(found) == 6
    assert stats.chisquare(found).pvalue > 1e-3
    limits = batch.sizes[batch.event]
    assert (draws.integers(batch, "b", limits) < limits).all()
    largest = draws.integers(batch, "c", 2**31)
    assert 0 <= largest.min() <= largest.max() < 2**31


def test_ranks_are_permutations_each_as_likely():
    batch = visited([3] * 30_000)
    ranks = draws.ranks(batch, "a").view(-1, 3)
    assert (ranks.sort(1).values == torch.arange(3)).all()
    found = (ranks * torch.tensor([9, 3, 1])).sum(1).unique(return_counts=True)[1]
    assert len(found) == 6
    assert stats.chisquare(found.numpy()).pvalue > 1e-3


def test_lots_choose_the_same_points_of_the_whole_batch_from_any_parts():
    whole = visited([5, 1, 17, 4, 2])
    expected = draws.lots(whole, "a").sort().values[:6]
    parts = [draws.lots(part(whole, order), "a") for order in ([0, 3], [1], [2, 4])]
    assert torch.equal(torch.cat(parts).sort().values[:6], expected)
    assert draws.lots(many(), "a").unique().shape == (len(many().points),)
