"""OmniJet-alpha: its counts and vocabulary, what it may not see, and the jets drawn from it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from made_batches import part
from made_constituents import feature_batch

from pipeline.downstream.jets.module import SummationHead
from pipeline.families.omnijet.module import Seen
from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn import systems
from pipeline.nn.hidden import Hidden

INPUTS = ("tokens", "continuous")


def counted(module):
    return sum(each.numel() for each in module.parameters())


def made(**asked):
    torch.manual_seed(0)
    asked = {"codes": 32, "width": 16, "layers": 2, "heads": 2, **asked}
    return systems.build(OmniJet(**asked), None)


def test_the_count_of_8192_codes_is_the_sum_of_its_three_parts_and_not_the_slides_6_7_million():
    model = OmniJet(size="alpha")
    with torch.device("meta"):
        module = systems.build(model, None).module
    assert counted(module.backbone.embedding) == 2_097_664
    assert counted(module.backbone.blocks) == 2_366_976
    assert counted(module.head) == 2_105_858
    assert counted(module) == model.parameters().trained == 6_570_498
    missing = 1 - counted(module) / 6.7e6
    assert missing == pytest.approx(0.02, abs=0.001), "2 % that no source resolves"


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("codes", [512, 32_768])
def test_the_declaration_knows_the_count_of_every_variant(inputs, codes):
    model = OmniJet(codes=codes, inputs=inputs, width=64, layers=2, heads=4)
    with torch.device("meta"):
        assert counted(systems.build(model, None).module) == model.parameters().trained


def test_the_summation_head():
    head = SummationHead(256, 2)
    assert counted(head) == 66_306
    both = part(feature_batch(4), [0, 1])
    hidden, first = torch.rand(len(both.points), 256), int(both.offsets[1])
    found = head(Hidden([hidden]), both)
    assert found.shape == (2, 2)
    alone = head(Hidden([hidden[first:]]), part(both, [1]))
    torch.testing.assert_close(found[1:], alone, rtol=1e-4, atol=1e-5)


def test_start_comes_first_and_stop_last():
    model = OmniJet(size="alpha")
    assert model.vocabulary == 8194
    system, batch = made(), feature_batch(3)
    output = system.module(batch)
    assert output.logits.shape == (len(batch.points) + 3, 34)
    for jet in range(3):
        words = output.target[output.event == jet]
        start, stop = batch.offsets[jet : jet + 2]
        assert words.tolist() == [*(batch.per_point["token"][start:stop] + 1).tolist(), 33]


@pytest.mark.parametrize("inputs", INPUTS)
def test_what_comes_later_in_a_jet_changes_nothing_before(inputs):
    module, batch = made(inputs=inputs).module.eval(), feature_batch(2)
    place = int(batch.offsets[1]) - 3  # third last of the first jet: its word is place + 1
    before = module(batch).logits
    batch.per_point["token"][place] = (batch.per_point["token"][place] + 1) % 32
    batch.points[place] += 1
    moved = (module(batch).logits - before).abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == [place + 1, place + 2, place + 3]


@pytest.mark.parametrize("inputs", INPUTS)
def test_another_jet_changes_nothing(inputs):
    module, batch = made(inputs=inputs).module.eval(), feature_batch(5)
    whole, alone = module(batch), module(part(batch, [3]))
    assert torch.allclose(whole.logits[whole.event == 3], alone.logits, atol=1e-5)


def test_the_loss_is_the_likelihood_of_jets_whatever_their_length():
    system, batch = made(), feature_batch(4)
    system.module.head.weight.data.zero_()
    system.module.head.bias.data.zero_()
    loss, _ = system.objective(system.module(batch), batch)
    nats = float(loss.detach())
    assert nats == pytest.approx(np.log(34) * (batch.sizes + 1).float().mean().item(), rel=1e-5)


def test_labels_are_never_read():
    read = OmniJet(size="alpha").reads()
    assert read.per_event == ()
    assert read.per_point == ("token",)


@pytest.mark.parametrize("inputs", INPUTS)
def test_one_word_at_a_time_is_all_at_once(inputs):
    module, batch = made(inputs=inputs).module.eval(), part(feature_batch(3), [1])
    if inputs == "tokens":
        entries = module.backbone.embedded(batch.per_point["token"])
    else:
        entries = module.backbone.embedded(batch.points)
    cache = [Seen() for _ in module.backbone.blocks]
    steps = [module._step(module.backbone.start(1), cache)]
    steps += [module._step(each[None], cache) for each in entries]
    assert torch.allclose(torch.cat(steps), module(batch).logits, atol=1e-5)


def sampled(module, count=40, seed=0, **asked):
    return module.sample(count, torch.Generator().manual_seed(seed), **asked)


def test_generated_jets_never_hold_start_or_stop_and_end_at_128():
    system = made()
    system.module.head.bias.data[0] = 50.0  # start would be drawn every time
    jets = sampled(system.module)
    assert len(jets) == 40
    for jet in jets:
        assert 1 <= len(jet) <= 128
        assert jet.min() >= 0
        assert jet.max() <= 31
    system.module.head.bias.data[33] = -50.0  # stop is never drawn
    assert {len(jet) for jet in sampled(system.module, 3)} == {128}
    system.module.head.bias.data[33] = 50.0
    assert {len(jet) for jet in sampled(system.module, 3)} == {1}, "a jet has a constituent"


def test_the_seed_decides_which_jets_are_drawn():
    module = made().module.eval()
    first, again, other = (sampled(module, 8, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_low_temperature_draws_the_likeliest_words():
    module = made().module.eval()
    first, other = (sampled(module, 4, seed, temperature=1e-4) for seed in (1, 2))
    assert all(torch.equal(first[0], each) for each in (*first, *other))


def test_continuous_inputs_are_fed_what_the_tokenizer_makes_of_a_word():
    module = made(inputs="continuous").module.eval()
    seen = []

    def decode(codes, offsets):
        seen.append(offsets.tolist())
        return codes[:, None].float().expand(-1, 3) / 32

    jets = sampled(module, 5, decode=decode)
    assert len(jets) == 5
    assert seen[0][1] == 1


def test_the_loss_falls_on_jets_that_follow_a_rule():
    system = made(width=32)
    batch = feature_batch(16)
    batch.per_point["token"][:] = batch.index_in_event % 32
    optimiser = torch.optim.AdamW(system.module.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss, _ = system.objective(system.module(batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("inputs", INPUTS)
def test_it_trains_in_half_precision(inputs):
    system = made(inputs=inputs)
    system.module.bfloat16()
    batch = feature_batch(4)
    loss, _ = system.objective(system.module(batch), batch)
    loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in system.module.parameters())
    assert len(sampled(system.module, 2, decode=lambda codes, _: torch.zeros(len(codes), 3))) == 2
