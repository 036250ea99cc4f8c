"""Activations computed again: less is kept, and nothing else changes."""

import pytest

torch = pytest.importorskip("torch")

from made_batches import MODEL, batch

from pipeline.families.fm4npp.module import NeighbourPredictor
from pipeline.families.fm4npp.objective import neighbours
from pipeline.training.engine.activation_checkpointing import blocks, checkpoint_activations


def trained(*, again):
    """Names and weights after three steps with dropout, and the bytes that were kept for the way
    back at the first one."""
    torch.manual_seed(3)
    model = NeighbourPredictor(MODEL.model_copy(update={"dropout": 0.2, "layers": 4}))
    if again:
        checkpoint_activations(model)
    optimiser, kept, losses = torch.optim.AdamW(model.parameters()), [], []
    for step in range(3):
        events = batch([30, 40], seed=step)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: kept.append((x.data_ptr(), x.nbytes)) or x, lambda x: x
        ):
            loss = neighbours(model(events), events)["neighbours"]
        if not step:
            first = sum(dict(kept).values())
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses, model.state_dict(), first


def test_it_keeps_less_and_trains_the_same():
    losses, weights, kept = trained(again=False)
    same_losses, same_weights, kept_less = trained(again=True)
    assert kept_less < kept / 3
    assert same_losses == losses
    assert list(same_weights) == list(weights)
    assert all(torch.equal(same_weights[name], value) for name, value in weights.items())


def test_blocks_are_those_of_the_outermost_lists():
    inner = torch.nn.Sequential(torch.nn.ModuleList([torch.nn.ReLU()]))
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ModuleList([inner, torch.nn.Tanh()])))
    assert [type(block).__name__ for block in blocks(model)] == ["Sequential", "Tanh"]
