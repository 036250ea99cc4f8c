"""FM4NPP: its published sizes, what it predicts, and that it sees nothing that comes later."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import batch, packed
from torch import nn

from pipeline.families.fm4npp.module import NeighbourPredictor, backbone
from pipeline.families.fm4npp.objective import neighbours
from pipeline.families.fm4npp.spec import FM4NPPMamba, FM4NPPMamba2
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.training.steps.loop import parameters

# Trainable and all parameters of Mamba2 models with 12 layers and 30 neighbours. Those of widths
# 256 and 1536 stand in the checkpoints that were released (pp_nerf_m1_k30, pp_nerf_m5_k30).
MAMBA2 = {
    "m1": (319_042, 323_138),
    "m2": (1_243_178, 1_251_370),
    "m3": (4_907_002, 4_923_386),
    "m4": (19_496_858, 19_529_626),
    "m5": (77_725_402, 77_790_938),
    "m6": (174_685_722, 174_784_026),
}
# The paper prints 0.34M, 1.3M, 5.3M, 21M, 84M and 188M: trainable parameters of Mamba models.
MAMBA = {
    "m1": 343_066,
    "m2": 1_337_306,
    "m3": 5_279_578,
    "m4": 20_979_290,
    "m5": 83_639_386,
    "m6": 187_980_378,
}


def counted(model):
    with torch.device("meta"):
        return parameters(NeighbourPredictor(model))


@pytest.mark.parametrize("size", MAMBA2)
def test_the_sizes_of_the_released_checkpoints(size):
    assert counted(FM4NPPMamba2(size=size)) == MAMBA2[size]


@pytest.mark.parametrize("size", MAMBA)
def test_the_sizes_that_the_paper_prints(size):
    assert counted(FM4NPPMamba(size=size))[0] == MAMBA[size]


def test_the_largest_of_the_slides_is_320m_within_five_per_cent():
    sizes = [counted(kind(size="slides-320m"))[0] for kind in (FM4NPPMamba, FM4NPPMamba2)]
    assert all(abs(size / 320e6 - 1) < 0.05 for size in sizes)


KINDS = pytest.mark.parametrize("kind", [FM4NPPMamba, FM4NPPMamba2])


def small(kind=FM4NPPMamba2, *, layers=2, neighbours=2, **asked):
    torch.manual_seed(0)
    return NeighbourPredictor(kind(width=64, layers=layers, neighbours=neighbours, **asked))


def test_it_predicts_three_coordinates_of_each_neighbour():
    assert small(neighbours=5)(packed([7, 1])).shape == (8, 5, 3)


@KINDS
def test_an_event_s_answer_does_not_depend_on_its_company(kind):
    model, sizes = small(kind), [65, 1, 130]
    batch = packed(sizes)
    together = model(batch).split(sizes)
    for found, points in zip(together, batch.points.split(sizes), strict=True):
        alone = packed([len(points)])
        alone.points.copy_(points)
        torch.testing.assert_close(found, model(alone), rtol=1e-4, atol=1e-5)


@KINDS
def test_a_point_sees_no_later_point(kind):
    model, batch = small(kind), packed([100])
    before = model(batch)[:60]
    batch.points[60:] = 0.5
    torch.testing.assert_close(model(batch)[:60], before, rtol=1e-4, atol=1e-5)


@KINDS
@pytest.mark.parametrize("combine", ["add", "concat"])
@pytest.mark.parametrize("embedding", ["nerf", "fourier", "continuous", "none"])
def test_embeddings_are_frozen_and_all_else_learns(kind, combine, embedding):
    model = small(kind, combine=combine, embedding=embedding)
    model(packed([20])).square().sum().backward()
    frozen = {name for name, p in model.named_parameters() if p.grad is None}
    names = {"energy": True, "position": embedding != "continuous", "mixed": combine == "concat"}
    assert frozen == {f"backbone.embedding.{name}" for name, there in names.items() if there}


@pytest.mark.parametrize("combine", ["add", "concat"])
@pytest.mark.parametrize("embedding", ["nerf", "fourier", "continuous", "none"])
def test_frozen_parameters_are_as_many_as_are_declared(combine, embedding):
    model = FM4NPPMamba2(size="m3", combine=combine, embedding=embedding)
    declared = model.parameters()
    assert counted(model) == (declared.trained, declared.total)


def test_concat_has_the_frozen_parameters_of_the_published_code():
    concat = FM4NPPMamba2(size="m3", combine="concat")
    assert concat.frozen == 64 + 320 * 256 + 63 * 256
    assert FM4NPPMamba2(size="m3", embedding="continuous").frozen == 256


def test_a_head_is_given_what_each_layer_adds_to_the_stream():
    model, events = small(), packed([9, 4])
    stream, added = model.backbone(events)
    embedded = model.backbone.embedding(events.points)
    torch.testing.assert_close(stream, embedded + added[0] + added[1])
    first = model.backbone.layers[0]
    torch.testing.assert_close(added[0], first.mixer(first.norm(embedded), events))
    _, hidden_of = backbone(FM4NPPMamba2(width=64, layers=2, neighbours=2), None)
    assert len(hidden_of(events).points) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"event_sizes": (1, 2, 3), "event_weights": (1.0,)},
        {"event_sizes": (3, 2), "event_weights": (1.0,)},
        {"event_sizes": (1, 2), "event_weights": (1.0,), "objectives": {"neighbours": 1.0}},
        {"event_sizes": (), "event_weights": ()},
    ],
)
def test_bins_of_event_sizes_without_their_weights_are_refused(given):
    asked = {"objectives": {"neighbours_by_size": 1.0}, **given}
    with pytest.raises(ValueError, match="event_sizes"):
        FM4NPPMamba2(size="m1", **asked)


def test_the_weights_of_event_sizes_reach_the_objective():
    events = batch([9, 4, 20])
    total = [
        systems.build(
            FM4NPPMamba2(
                width=32,
                neighbours=2,
                layers=1,
                objectives={"neighbours_by_size": 1.0},
                event_sizes=(1, 100),
                event_weights=(weight,),
            ),
            None,
        ).objective(torch.zeros(33, 2, 3), events)[0]
        for weight in (1.0, 3.0)
    ]
    torch.testing.assert_close(total[1], 3 * total[0])


def spread(weight):
    return weight.detach().double().std().item()


@KINDS
def test_initial_weights_follow_the_laws_of_the_published_trainers(kind):
    torch.manual_seed(1)
    model = NeighbourPredictor(kind(size="m3"))
    embedding, mixer = model.backbone.embedding, model.backbone.layers[5].mixer
    laws = {
        embedding.energy: 1.0,
        embedding.position: 1.0,
        mixer.in_proj.weight: 256**-0.5 / 3**0.5,
        mixer.conv_weight: 4**-0.5 / 3**0.5,
        mixer.out_proj.weight: 512**-0.5 / 3**0.5,  # at any depth
        model.head.weight: 256**-0.5 / 3**0.5,
    }
    if kind is FM4NPPMamba2:
        laws |= {mixer.lin_B.weight: (16 / 256) ** 0.5, mixer.lin_C.weight: (256 * 16) ** -0.5}
    else:
        laws |= {mixer.x_proj.weight: 512**-0.5 / 3**0.5, mixer.dt_proj.weight: 0.25 / 3**0.5}
    for weight, std in laws.items():
        assert spread(weight) == pytest.approx(std, rel=0.15 if weight.shape[0] == 1 else 0.04)
    assert not mixer.conv_bias.any()
    assert not model.head.bias.any()
    assert (mixer.D == 1).all()


@KINDS
def test_first_time_steps_are_log_uniform_or_of_biases_that_are_zero(kind):
    def steps(**given):
        mixer = small(kind, **given).backbone.layers[0].mixer
        return mixer.dt_bias if kind is FM4NPPMamba2 else mixer.dt_proj.bias

    drawn = nn.functional.softplus(steps())
    assert drawn.min() >= 0.999e-3
    assert drawn.max() <= 0.1001
    assert not steps(time_steps="zero").any()


def test_the_residual_stream_hardly_grows_in_twelve_layers():
    model, events = small(layers=12), packed([100])
    stream, _ = model.backbone(events)
    assert stream.std() < 1.3 * model.backbone.embedding(events.points).std()


def test_dropout_is_off_in_evaluation():
    model = FM4NPPMamba2(width=64, layers=1, neighbours=2, dropout=0.5)
    predictor: nn.Module = NeighbourPredictor(model).eval()
    batch = packed([30])
    assert torch.equal(predictor(batch), predictor(batch))


def lines(seed, events=4, tracks=6, layers=16):
    """Straight tracks through layers, sorted by radius; next neighbours are on the same track."""
    made = torch.Generator().manual_seed(seed)
    eta, phi, energy = (torch.rand(events, 1, tracks, generator=made) for _ in range(3))
    r = torch.linspace(0, 1, layers).view(1, layers, 1).expand(events, layers, tracks)
    points = torch.stack([each.expand_as(r) for each in (energy, eta, phi)] + [r], -1)
    size = tracks * layers
    later = torch.arange(size).unsqueeze(1) + tracks * torch.arange(1, 3)
    return Batch(
        points=points.reshape(-1, 4),
        offsets=torch.arange(events + 1) * size,
        event_id=torch.arange(events),
        per_point={"neighbours": later.where(later < size, -1).repeat(events, 1)},
    )


@KINDS
def test_its_loss_falls_far_below_that_of_the_mean_place(kind):
    model = small(kind)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for step in range(120):
        batch = lines(step)
        (loss,) = neighbours(model(batch), batch).values()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    batch = lines(1000)
    (loss,) = neighbours(model(batch), batch).values()
    assert loss < 0.3 * batch.points[:, 1:].var(0).mean()
