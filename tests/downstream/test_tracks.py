"""The track head: an event's answer is its own, and padded places belong to nobody."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import HEAD, MODEL, batch, part

from pipeline.downstream.tracks.queries import NO_MASK, NOISE, NOTHING, TRACK, Tracks, assign
from pipeline.downstream.tracks.spec import TrackTask
from pipeline.training.network import Downstream


@pytest.fixture(scope="module")
def finder():
    torch.manual_seed(0)
    return Downstream(MODEL, HEAD).eval()


def test_it_answers_after_each_round(finder):
    tracks = finder(batch([5, 9]))
    assert len(tracks.masks) == len(tracks.classes) == HEAD.layers + 1
    assert tracks.masks[-1].shape == (2, HEAD.queries, 9)
    assert tracks.classes[-1].shape == (2, HEAD.queries, 2)
    assert tracks.real.sum(1).tolist() == [5, 9]


def test_noise_is_a_class_where_that_is_chosen():
    task = HEAD.model_copy(update={"noise": "class"})
    tracks = Downstream(MODEL, task)(batch([5, 9]))
    assert tracks.classes[-1].shape == (2, HEAD.queries, 3)


def test_initial_weights_follow_the_laws_of_the_published_trainer():
    torch.manual_seed(0)
    head = Downstream(MODEL, TrackTask()).head
    biases = [p for name, p in head.named_parameters() if name.endswith("bias")]
    assert not any(p.any() for p in biases)
    laws = {
        head.queries: 1.0,
        head.places: 1.0,
        head.rounds[0].cross.in_proj_weight: (2 / (256 + 768)) ** 0.5,  # Xavier's
        head.rounds[1].among.out_proj.weight: 256**-0.5 / 3**0.5,
        head.rounds[1].inner[2].weight: 512**-0.5 / 3**0.5,
        head.mask[1].weight: 256**-0.5 / 3**0.5,
    }
    for weight, std in laws.items():
        assert weight.detach().std().item() == pytest.approx(std, rel=0.03)
    assert (head.weights == 1).all()


def test_padded_places_belong_to_nobody(finder):
    tracks = finder(batch([5, 9]))
    for masks in tracks.masks:
        assert (masks[0, :, 5:] == NO_MASK).all()
        assert (masks[0, :, :5] > NO_MASK).all()


def test_an_event_s_answer_does_not_depend_on_its_company(finder):
    whole = batch([5, 70, 1, 9])
    together = finder(whole)
    for number, size in enumerate(whole.sizes.tolist()):
        alone = finder(part(whole, [number]))
        for many, one in zip(together.masks, alone.masks, strict=True):
            torch.testing.assert_close(many[number, :, :size], one[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.classes[-1][number], alone.classes[-1][0])


def answer(queries, classes, sizes):
    """An answer where point l of event b goes to queries[b][l]."""
    longest = max(sizes)
    masks = torch.full((len(sizes), len(classes), longest), NO_MASK)
    for event, taken in enumerate(queries):
        for place, query in enumerate(taken):
            masks[event, query, place] = 8.0
    logits = torch.full((len(sizes), len(classes), 3), -8.0)
    logits[:, range(len(classes)), classes] = 8.0
    return Tracks([masks], [logits], masks.amax(1) > NO_MASK)


def test_points_go_to_the_query_that_claims_them():
    made = batch([3, 2])
    tracks = answer([[0, 2, 0], [1, 2]], [TRACK, TRACK, TRACK], [3, 2])
    assert assign(tracks, made)[0].tolist() == [1, 3, 1, 2, 3]


def test_what_a_noise_query_claims_is_noise():
    tracks = answer([[0, 1, 0]], [TRACK, NOISE], [3])
    assert assign(tracks, batch([3]))[0].tolist() == [1, 0, 1]


def test_a_query_that_claims_nothing_loses_its_points():
    tracks = answer([[0, 0]], [NOTHING, TRACK], [2])
    tracks.masks[0][:, 1] = -1.0
    assert assign(tracks, batch([2]))[0].tolist() == [2, 2]


def test_a_mask_alone_may_assign_points():
    tracks = answer([[0, 0]], [NOTHING, TRACK], [2])
    tracks.masks[0][:, 1] = -1.0
    assert assign(tracks, batch([2]), "mask")[0].tolist() == [1, 1]


@pytest.mark.parametrize("assignment", ["mask", "mask-and-class"])
def test_a_class_that_is_no_number_makes_no_claim_that_is_one(assignment):
    """Else a network of NaN finds tracks, and nobody notices."""
    tracks = answer([[0, 1]], [TRACK, TRACK], [2])
    tracks.classes[0][:] = torch.nan
    assert assign(tracks, batch([2]), assignment)[1].isnan().all()


def test_points_that_no_query_claims_are_noise():
    tracks = answer([[0, 1]], [NOTHING, NOTHING], [2])
    assert assign(tracks, batch([2]))[0].tolist() == [0, 0]


def test_masked_attention_does_not_spoil_gradients_with_points_that_nobody_wants(finder):
    finder.zero_grad()
    tracks = finder(batch([1, 40]))
    (tracks.masks[-1][0, :, 0].sum() + tracks.classes[-1].sum()).backward()
    assert all(p.grad.isfinite().all() for p in finder.parameters() if p.grad is not None)
