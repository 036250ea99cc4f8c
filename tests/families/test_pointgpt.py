"""PointGPT-type: the sizes of the slides, the patches, and what each is predicted from."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from made_batches import packed
from torch.utils.flop_counter import FlopCounterMode

from pipeline.families.pointgpt.module import PatchPredictor, directions, sinusoids
from pipeline.families.pointgpt.objective import chamfer, distances
from pipeline.families.pointgpt.patches import farthest, morton, patches_of
from pipeline.families.pointgpt.spec import PointGPT
from pipeline.nn import systems
from pipeline.training.steps.loop import parameters

# As the slides print them, in millions; the counts behind are reproduced to every digit.
SLIDES = {
    "m1": (2_380_419, "2.38"),
    "m2": (5_564_247, "5.56"),
    "m3": (9_479_427, "9.48"),
    "m4": (21_297_027, "21.3"),
    "m5": (44_137_987, "44.14"),
    "m6": (99_237_123, "99.24"),
    "m7": (226_741_251, "226.74"),
    "m8": (509_981_187, "509.98"),
    "m9": (1_007_183_875, "1007.18"),
}


def counted(size):
    with torch.device("meta"):
        return parameters(PatchPredictor(PointGPT(size=size)))[0]


@pytest.mark.parametrize("size", SLIDES)
def test_the_sizes_of_the_slides(size):
    count, printed = SLIDES[size]
    assert counted(size) == count
    digits = len(printed.partition(".")[2])
    assert f"{count / 1e6:.{digits}f}" == printed


def test_the_slides_m8_cannot_have_the_20_layers_printed_beside_it():
    assert PointGPT(size="m8").layers == 18
    assert PointGPT(size="m8-20").layers == 20
    assert counted("m8-20") == 566_644_227


def small(**asked):
    torch.manual_seed(0)
    wanted = {"width": 24, "backbone_layers": 2, "encoder_layers": 1, "decoder_layers": 1}
    wanted |= {"heads": (2, 2, 2), "patch_points": 4, "patches": 8, "hidden_share": 0.5}
    return PointGPT(**(wanted | asked))


def places(sizes, seed=0):
    """A batch whose points have three coordinates."""
    batch = packed(sizes, seed=seed)
    return type(batch)(batch.points[:, 1:].contiguous(), batch.offsets, batch.event_id)


def test_patches_are_the_nearest_points_of_farthest_centres():
    batch = places([40, 4, 9])
    patches = patches_of(batch, 4, 8)
    assert patches.lengths.offsets.tolist() == [0, 8, 10, 15]  # 2 · n / 4, at most 8
    for event, (start, stop) in enumerate([(0, 8), (8, 10), (10, 15)]):
        mine = batch.points[batch.event == event]
        for patch in range(start, stop):
            distance = (mine - patches.centres[patch]).norm(dim=1)
            expected = distance.topk(4, largest=False).values
            found = patches.points[patch].norm(dim=1)
            torch.testing.assert_close(found, expected)
            rows = patches.rows[patch]
            assert (batch.event[rows] == event).all()
            back = batch.points[rows] - patches.centres[patch]
            torch.testing.assert_close(patches.points[patch], back)


def test_centres_are_as_far_apart_as_they_can_be_and_start_at_the_first_point():
    points = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0], [1, 0, 0], [0.4, 0, 0], [9, 9, 9]]])
    real = torch.tensor([[True, True, True, True, False]])
    assert farthest(points, real, 4).tolist() == [[0, 2, 3, 1]]


def test_patches_come_in_morton_order():
    codes = [morton(patches_of(places([60], seed), 4, 8).centres) for seed in range(3)]
    assert all((code.diff() >= 0).all() for code in codes)
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    order = morton(corners)
    assert order.tolist() == sorted(order.tolist())
    assert order[-1] == 2**30 - 1


def test_directions_are_of_one_length_and_none_at_the_start():
    first = torch.tensor([True, False, False, True])
    found = directions(torch.rand(4, 3), first)
    torch.testing.assert_close(found.norm(dim=1), torch.tensor([0.0, 1, 1, 0]))


def test_sinusoids_take_any_width():
    for width in (24, 128, 196, 384, 49):
        assert sinusoids(torch.rand(5, 3), width).shape == (5, width)


@pytest.mark.parametrize("width", [24, 98])  # heads of 12 and of 49 channels
def test_it_predicts_the_points_of_every_patch(width):
    predicted = PatchPredictor(small(width=width))(places([40, 7]))
    assert predicted.points.shape == (8 + 4, 4, 3) == predicted.patches.points.shape


def test_a_patch_is_predicted_from_earlier_ones_alone():
    model, batch = PatchPredictor(small()).eval(), places([60])
    before = model(batch)
    rows = before.patches.rows
    later = [p for p in range(60) if not (rows[:4] == p).any()]
    centre_rows = rows[:, 0].tolist()  # a centre is its own nearest point
    moved = [p for p in later if p not in centre_rows]
    assert len(moved) > 5
    batch.points[moved] += 1e-4  # too little to change a patch, enough to see a leak
    after = model(batch)
    assert torch.equal(after.patches.rows, rows)
    assert not torch.equal(after.patches.points, before.patches.points)
    assert torch.equal(after.points[:5], before.points[:5])
    assert not torch.equal(after.points[5:], before.points[5:])


def test_an_event_s_answer_does_not_depend_on_its_company():
    model, sizes = PatchPredictor(small()).eval(), [30, 4, 55]
    batch = places(sizes)
    together = model(batch)
    parts = together.points.split(together.patches.lengths.offsets.diff().tolist())
    for number, found in enumerate(parts):
        rows = batch.event == number
        alone = type(batch)(
            batch.points[rows], torch.tensor([0, sizes[number]]), torch.tensor([number])
        )
        torch.testing.assert_close(found, model(alone).points, rtol=1e-4, atol=1e-6)


def test_hidden_patches_are_drawn_in_training_alone():
    model, batch = PatchPredictor(small(hidden_share=0.5)), places([60])
    later = replace(batch, epoch=torch.ones(1, dtype=torch.int64))
    assert torch.equal(model(batch).points, model(batch).points)
    assert not torch.equal(model(batch).points, model(later).points)
    model.eval()
    assert torch.equal(model(batch).points, model(later).points)


def test_the_chamfer_distance_of_two_squares():
    square = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]])
    moved = square + torch.tensor([0.0, 0, 0.5])
    first, second = distances(moved, square)
    torch.testing.assert_close(first, torch.tensor([0.5]))
    torch.testing.assert_close(second, torch.tensor([0.5]))  # 0.25 there and 0.25 back
    first, second = distances(square[:, [3, 1, 0, 2]], square)
    assert second == 0
    assert first < 1e-5


def test_the_loss_is_a_mean_over_events_whatever_their_patches():
    model, batch = PatchPredictor(small()).eval(), places([60, 4])
    whole = chamfer(model(batch), batch)
    each = []
    for number in range(2):
        rows = batch.event == number
        alone = type(batch)(
            batch.points[rows], torch.tensor([0, int(rows.sum())]), torch.tensor([number])
        )
        each.append(chamfer(model(alone), alone))
    for name, value in whole.items():
        torch.testing.assert_close(value, (each[0][name] + each[1][name]) / 2)


def test_its_loss_falls_on_curved_tracks():
    torch.manual_seed(1)
    system = systems.build(small(patch_points=8, patches=16), None)
    optimiser = torch.optim.AdamW(system.module.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        batch = tracks(step)
        loss, _ = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def tracks(seed, events=4, count=6, layers=16):
    """Straight lines through layers, as tracks are in normalised (eta, phi, r)."""
    made = torch.Generator().manual_seed(seed)
    eta, phi, bend = (torch.rand(events, count, 1, generator=made) for _ in range(3))
    r = torch.linspace(0, 1, layers).expand(events, count, layers)
    points = torch.stack([eta.expand_as(r), (phi + 0.1 * (bend - 0.5) * r) % 1, r], -1)
    size = count * layers
    return type(places([1]))(
        points.reshape(-1, 3), torch.arange(events + 1) * size, torch.arange(events)
    )


def test_flops_a_patch_are_those_of_the_matrices():
    model = small(width=32, hidden_share=0.0)
    module, batch = PatchPredictor(model), places([200])
    with FlopCounterMode(display=False) as counter:
        patches = module(batch).patches
    count = len(patches.centres)
    # The counter does not see fused attention on a CPU: two products of W a pair of tokens.
    small_ones = 2 * model.width * model.patch_points * model.patch_points * 2  # encoder, decoder
    large = 2 * model.width * count / 2 * model.backbone_layers
    seen = counter.get_total_flops() / count + 2 * (small_ones + large)
    assert model.flops_per_token(count) / 3 == pytest.approx(seen, rel=0.02)
