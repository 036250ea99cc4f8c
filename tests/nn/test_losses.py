"""The losses: means over events, minimal for the truth, finite for every event."""

from functools import partial

import pytest

torch = pytest.importorskip("torch")

from made_batches import HEAD, MODEL, batch, part

from pipeline.downstream.tracks.loss import track_finding
from pipeline.downstream.tracks.queries import NO_MASK, NOISE, NOTHING, TRACK, Tracks
from pipeline.families.fm4npp.objective import (
    neighbours,
    neighbours_by_size,
    neighbours_per_event,
)
from pipeline.families.omnilearned.objective import points as omnilearned_points
from pipeline.nn.losses import WeightedSum, count_of, only
from pipeline.training.network import Downstream

SIZES = [5, 70, 1, 9, 30, 12]
PARTITIONS = [[[0, 1, 2], [3, 4, 5]], [[0, 1], [2, 3], [4, 5]], [[5], [4], [3], [2], [1], [0]]]


def means(losses):
    return {name: torch.stack([each[name] for each in losses]).mean() for name in losses[0]}


@pytest.mark.parametrize("partition", PARTITIONS, ids=str)
def test_the_neighbour_loss_is_the_same_however_the_batch_is_shared_out(partition):
    whole = batch(SIZES)
    predicted = torch.rand(len(whole.points), 2, 3)
    pieces = predicted.split(SIZES)
    losses = [
        neighbours_per_event(torch.cat([pieces[i] for i in chosen]), part(whole, chosen))
        for chosen in partition
    ]
    torch.testing.assert_close(means(losses), neighbours_per_event(predicted, whole))


def squares(made):
    """The squared errors of a prediction of zero, of the neighbours there are, event by event."""
    starts = made.offsets[:-1][made.event].unsqueeze(1)
    wanted = made.per_point["neighbours"]
    error = made.points[:, 1:][(wanted + starts).clamp(min=0)].square().mean(-1)
    return [
        error[event][wanted[event] >= 0] for event in (made.event == b for b in range(len(SIZES)))
    ]


def test_the_published_loss_is_the_mean_over_all_neighbours_of_the_batch():
    made = batch(SIZES)
    nothing = torch.zeros(len(made.points), 2, 3)
    found = neighbours(nothing, made)["neighbours"]
    torch.testing.assert_close(found, torch.cat(squares(made)).mean())
    assert found != neighbours_per_event(nothing, made)["neighbours_per_event"]


@pytest.mark.parametrize("partition", [*PARTITIONS, [[0, 1, 2, 3, 4], [5]]], ids=str)
def test_shares_of_terms_make_pooled_losses_the_same_however_the_batch_is_shared_out(partition):
    """As the engine weighs them: terms of the piece over terms of the batch."""
    whole = batch(SIZES)
    both = WeightedSum([(neighbours, 1.0), (neighbours_per_event, 0.5)])
    predicted = torch.rand(len(whole.points), 2, 3)
    pieces, terms, expected = predicted.split(SIZES), both.terms(whole), both(predicted, whole)[0]
    found = 0.0
    for chosen in partition:
        piece = part(whole, chosen)
        shares = (both.terms(piece) / terms).tolist()
        found += both(torch.cat([pieces[i] for i in chosen]), piece, shares)[0]
    torch.testing.assert_close(found, expected)


def test_what_an_objective_is_a_mean_over_is_counted():
    made = batch(SIZES)
    there = int((made.per_point["neighbours"] >= 0).sum())
    both = WeightedSum([(neighbours, 1.0), (partial(neighbours_by_size, edges=(), weights=()), 1)])
    assert both.terms(made).tolist() == [there, len(SIZES)]
    assert not both.is_over_events
    of_points = partial(omnilearned_points, array="track")
    assert count_of(of_points)(made).tolist() == sum(SIZES)
    assert only(neighbours_per_event).is_over_events


def test_events_can_be_weighed_by_their_size_a_bin_holds_its_lower_edge_alone():
    made = batch(SIZES)  # 5, 70, 1, 9, 30 and 12 points
    found = neighbours_by_size(
        torch.zeros(len(made.points), 2, 3), made, edges=(5, 12, 70), weights=(2.0, 3.0)
    )["neighbours_by_size"]
    each = squares(made)
    weighed = 2 * each[0].mean() + 2 * each[3].mean() + 3 * each[4].mean() + 3 * each[5].mean()
    torch.testing.assert_close(found, weighed / len(SIZES))


@pytest.mark.parametrize("partition", PARTITIONS, ids=str)
def test_the_track_loss_is_the_same_however_the_batch_is_shared_out(partition):
    torch.manual_seed(0)
    finder, whole = Downstream(MODEL, HEAD), batch(SIZES)
    losses = [track_finding(finder(part(whole, i)), part(whole, i)) for i in partition]
    found = track_finding(finder(whole), whole)
    torch.testing.assert_close(means(losses), found, rtol=1e-4, atol=1e-5)


def by_size(predicted, made):
    """Return the objective that weighs events by size, all with the same weight."""
    return neighbours_by_size(predicted, made, edges=(0, 1000), weights=(1.0,))


MEANS = pytest.mark.parametrize("objective", [neighbours, neighbours_per_event, by_size])


def one(losses):
    """Return the one part."""
    (loss,) = losses.values()
    return loss


@MEANS
def test_the_neighbour_loss_of_the_truth_is_zero_and_of_an_offset_its_square(objective):
    made = batch([4, 3])
    starts = made.offsets[:-1][made.event].unsqueeze(1)
    truth = made.points[:, 1:][(made.per_point["neighbours"] + starts).clamp(min=0)]
    assert one(objective(truth, made)) == 0
    torch.testing.assert_close(one(objective(truth + 0.5, made)), torch.tensor(0.25))


@MEANS
def test_neighbours_that_do_not_exist_do_not_count(objective):
    made = batch([4])
    predicted = torch.rand(4, 2, 3)
    before = one(objective(predicted, made))
    predicted[made.per_point["neighbours"] < 0] = 1e6
    assert one(objective(predicted, made)) == before


@MEANS
def test_an_event_of_one_point_has_no_neighbours_and_no_loss(objective):
    made = batch([1])
    predicted = torch.rand(1, 2, 3, requires_grad=True)
    loss = one(objective(predicted, made))
    loss.backward()
    assert loss == 0
    assert not predicted.grad.any()


def planted(order, track, *, queries=6, sure=12.0):
    """The perfect answer for one event: query order[i] claims the i-th thing to be found."""
    ids = track.unique()
    masks = torch.full((1, queries, len(track)), -sure)
    classes = torch.full((1, queries, 3), -sure)
    classes[..., NOTHING] = sure
    for query, identity in zip(order, ids, strict=True):
        masks[0, query] = torch.where(track == identity, sure, -sure)
        classes[0, query] = -sure
        classes[0, query, NOISE if identity == 0 else TRACK] = sure
    return Tracks([masks], [classes], torch.ones(1, len(track), dtype=torch.bool))


def event(track):
    made = batch([len(track)])
    made.per_point["track"].copy_(torch.tensor(track))
    return made


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (5, 2, 0, 4), (3, 1, 4, 0)])
def test_a_perfect_answer_costs_nothing_whichever_query_gives_it(order):
    made = event([0, 7, 7, 7, -3, -3, 9, 9, 9, 0])
    losses = track_finding(planted(order, made.per_point["track"]), made)
    for name, value in losses.items():
        assert value < 1e-3, name


@pytest.mark.parametrize("part_of_the_loss", ["class", "dice", "focal"])
def test_each_part_rises_when_the_answer_gets_worse(part_of_the_loss):
    made = event([0, 7, 7, 7, 9, 9])
    right, wrong = (
        planted((0, 1, 2), made.per_point["track"]),
        planted((0, 1, 2), made.per_point["track"]),
    )
    if part_of_the_loss == "class":
        wrong.classes[0][0, 1] = wrong.classes[0][0, 1].roll(1)
    else:
        wrong.masks[0][0, 1, 2:4] *= -1
    worse = track_finding(wrong, made)[part_of_the_loss]
    assert worse > track_finding(right, made)[part_of_the_loss] + 0.05


def test_every_round_counts():
    made = event([7, 7, 9])
    once = planted((0, 1), made.per_point["track"])
    twice = Tracks(once.masks * 2, once.classes * 2, once.real)
    for name, value in track_finding(twice, made).items():
        torch.testing.assert_close(value, 2 * track_finding(once, made)[name])


def test_padding_costs_nothing():
    made = event([7, 7, 9])
    tight = planted((0, 1), made.per_point["track"], sure=1.0)
    wide = Tracks(
        [torch.nn.functional.pad(tight.masks[0], (0, 5), value=NO_MASK)], tight.classes, tight.real
    )
    torch.testing.assert_close(track_finding(wide, made), track_finding(tight, made))


@pytest.mark.parametrize(
    "track",
    [[0], [0, 0, 0], [5], list(range(1, 13)), [-1, -1, 2]],
    ids=["one noise point", "noise only", "one point", "more tracks than queries", "negative id"],
)
def test_every_kind_of_event_gives_a_finite_loss_and_gradient(track):
    torch.manual_seed(0)
    finder, made = Downstream(MODEL, HEAD), event(track)
    losses = track_finding(finder(made), made)
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in finder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_an_answer_that_is_no_number_gives_a_loss_that_is_none():
    made = event([7, 7, 9])
    answer = planted((0, 1), made.per_point["track"])
    answer.masks[0][:] = torch.nan
    assert track_finding(answer, made)["dice"].isnan()
