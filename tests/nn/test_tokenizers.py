"""Tokenizers: their counts, their way there and back, and the codebook that follows its inputs."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import packed, part
from made_constituents import SMALL, feature_batch

from pipeline.families.binning.spec import Binning
from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn import systems
from pipeline.nn.collectives import Collectives
from pipeline.nn.k_means import k_means, nearest
from pipeline.nn.lengths import Lengths
from pipeline.nn.quantiser import Quantiser


def counted(model):
    with torch.device("meta"):
        module = systems.build(model, None).module
    return sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize(("codes", "count"), [(8192, 833_551), (512, 802_831), (32_768, 931_855)])
def test_the_counts_of_the_conditional_tokenizer(codes, count):
    model = VQVAE(codes=codes)
    assert counted(model) == model.parameters().trained == count


@pytest.mark.parametrize("model", [VQVAEMLP(codes=512), VQVAEMLP(codes=64, layers=2), SMALL])
def test_the_declaration_knows_the_count(model):
    assert counted(model) == model.parameters().trained


@pytest.mark.parametrize("spacing", ["equal", "linspace"])
def test_bins_lead_back_within_half_a_bin(spacing):
    model = Binning(bins=(20, 11, 7), spacing=spacing)
    bins = systems.build(model, None).module
    low, high = torch.tensor(model.ranges).T
    features = low + (high - low) * torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    codes = bins.encode(features, torch.tensor([0, 500]))
    assert model.codes == 20 * 11 * 7
    assert codes.min() >= 0
    assert codes.max() < model.codes
    width = (high - low) / (torch.tensor(model.bins) - int(spacing == "linspace"))
    error = (bins.decode(codes, torch.tensor([0, 500])) - features).abs()
    assert (error <= width / 2 + 1e-5).all()
    assert bins.encode(bins.decode(codes, codes), codes).equal(codes)


def test_beyond_a_range_is_its_end():
    bins = systems.build(Binning(bins=(4, 4, 4)), None).module
    far = torch.tensor([[99.0, -99.0, 99.0]])
    assert bins.decode(bins.encode(far, far), far)[0].tolist() == pytest.approx([4.025, -1.8, 1.8])


def test_impossible_bins_are_refused():
    with pytest.raises(ValueError, match=r"that of deta, 1.0 to -1.0, does not go up"):
        Binning(bins=(2, 2, 2), ranges=((-1, 1), (1, -1), (-1, 1)))
    with pytest.raises(ValueError, match="linspace has two ends, so 2 or more"):
        Binning(bins=(2, 1, 2), spacing="linspace")


def test_codes_and_back_is_what_training_reconstructs():
    torch.manual_seed(0)
    module, batch = systems.build(SMALL, None).module.eval(), feature_batch(4)
    codes = module.encode(batch.points, batch.offsets)
    assert codes.shape == (len(batch.points),)
    assert torch.allclose(module.decode(codes, batch.offsets), module(batch).features, atol=1e-5)


@pytest.mark.parametrize("model", [SMALL, VQVAEMLP(codes=32, hidden_width=16)])
def test_another_jet_changes_nothing(model):
    torch.manual_seed(0)
    module, batch = systems.build(model, None).module.eval(), feature_batch(5)
    whole, alone = module(batch), module(part(batch, [2]))
    start, stop = batch.offsets[2:4]
    assert torch.allclose(whole.features[start:stop], alone.features, atol=1e-5)


@pytest.mark.parametrize("model", [SMALL, VQVAEMLP(codes=32, hidden_width=16)])
def test_only_the_conditional_code_depends_on_the_rest_of_the_jet(model):
    torch.manual_seed(0)
    module, batch = systems.build(model, None).module.eval(), feature_batch(2)
    lengths = Lengths.of(batch.offsets)
    with torch.no_grad():
        for each in module.encoder.parameters():  # at first blocks hand on what they are given
            each.add_(torch.randn_like(each), alpha=0.1)
        before = module.encoder(batch.points, lengths)  # which is quantised
        batch.points[1:8] += 2
        after = module.encoder(batch.points, lengths)
    rest = torch.ones(len(before), dtype=torch.bool)
    rest[1:8] = False
    assert torch.equal(before[rest], after[rest]) == isinstance(model, VQVAEMLP)


def clusters(count=400, codes=8):
    made = torch.Generator().manual_seed(1)
    centres = 10 * torch.randn(codes, 4, generator=made)
    rows = torch.arange(count) % codes
    return centres[rows] + 0.1 * torch.randn(count, 4, generator=made)


def test_the_nearest_code_is_the_nearest_in_batches_of_any_size(monkeypatch):
    z, book = torch.randn(70, 4), torch.randn(9, 4)
    brute = torch.cdist(z, book).argmin(1)
    assert nearest(z, book).equal(brute)
    monkeypatch.setattr("pipeline.nn.k_means.AT_ONCE", 64)
    assert nearest(z, book).equal(brute)


def test_the_first_batch_puts_the_codes_where_its_points_are():
    torch.manual_seed(0)
    quantiser, z = Quantiser(8, 4, beta=0.9, sync=1, replacement_steps=10), 5 + torch.randn(400, 4)
    far = quantiser.eval()(z)[2].mean()
    quantiser.begin(z, [packed([300]), packed([100])])
    code, _, commitment = quantiser(z)
    assert commitment.mean() < far / 10
    assert len(code.unique()) == 8
    few = k_means(z[:3], [packed([2, 1])], 8, Collectives())
    assert few.shape == (8, 4), "of fewer points than codes too"
    assert torch.cdist(few, z[:3]).min(1).values.max() < 0.1 * z.std()


def test_dead_codes_move_to_where_points_are_and_others_stay():
    torch.manual_seed(0)
    quantiser, z = Quantiser(8, 4, beta=0.9, sync=1, replacement_steps=5), clusters()
    batch = packed([100, 300])
    quantiser.begin(z, [batch])
    quantiser.train()(z, batch)
    quantiser.moved[2:4] += 1000.0
    alive = quantiser.codebook[:2].clone()
    for _ in range(3):
        quantiser(z, batch)
    assert quantiser.codebook[2:4].abs().min() > 500, "not before its time"
    for _ in range(8):
        quantiser(z, batch)
    assert quantiser.codebook[2:4].abs().max() < 100
    assert torch.equal(quantiser.codebook[:2], alive)


def test_gradients_go_straight_through_and_to_the_codebook():
    torch.manual_seed(0)
    quantiser, z = (
        Quantiser(8, 4, beta=1, sync=0.5, replacement_steps=5),
        clusters().requires_grad_(),
    )
    code, latent, _ = quantiser.eval()(z)
    latent.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))
    used = torch.bincount(code, minlength=8)
    assert torch.allclose(quantiser.learnt.grad, 0.5 * used[:, None].float().expand(-1, 4))


def test_beta_is_the_share_that_moves_the_codebook():
    gradients = []
    for beta in (1.0, 0.0):
        torch.manual_seed(0)
        quantiser, z = Quantiser(8, 4, beta=beta, sync=0, replacement_steps=5), clusters()
        quantiser.eval()(z.requires_grad_())[2].sum().backward()
        gradients.append((z.grad.abs().sum() > 0, quantiser.learnt.grad.abs().sum() > 0))
    assert [tuple(map(bool, each)) for each in gradients] == [(False, True), (True, False)]


@pytest.mark.parametrize("model", [VQVAE(codes=64, hidden_width=32, blocks=1, heads=4)])
def test_its_loss_falls_on_jets(model):
    torch.manual_seed(0)
    system, batch = systems.build(model, None), feature_batch(40)
    optimiser = torch.optim.AdamW(system.module.parameters(), 3e-3)
    told = []
    for _ in range(80):
        loss, parts = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append(float(parts["reconstruction"].detach()))
    variance = float(np.var(batch.points.numpy(), axis=0).mean())
    assert told[-1] < 0.3 * variance
    assert told[-1] < told[0] / 2


@pytest.mark.parametrize("model", [SMALL, VQVAEMLP(codes=32, hidden_width=16)])
def test_it_trains_in_half_precision(model):
    torch.manual_seed(0)
    system, batch = systems.build(model, None), feature_batch(10)
    system.module.bfloat16()
    for _ in range(2):
        loss, _ = system.objective(system.module(batch), batch)
        loss.backward()
    assert torch.isfinite(loss)
    module = system.module.eval()
    codes = module.encode(batch.points, batch.offsets)
    assert torch.isfinite(module.decode(codes, batch.offsets)).all()
