"""Small events of tracks that are easy to find, and one training of a head on them."""

from dataclasses import replace

import numpy as np
import torch

from pipeline.evaluation.tracking import evaluate_events
from pipeline.nn import systems
from pipeline.nn.batch import Batch
from pipeline.training.network import Downstream


def lines(events, *, tracks=3, points=8, seed=0) -> Batch:
    """Events of straight tracks, evenly around the beam, whose points come in a random order."""
    made = torch.Generator().manual_seed(seed)
    number = torch.arange(1, tracks + 1).repeat_interleave(points).repeat(events)
    count = len(number)
    turn = torch.rand(events, generator=made).repeat_interleave(tracks * points)
    phi = (turn + number / tracks) % 1 + 0.004 * torch.randn(count, generator=made)
    r = torch.rand(count, generator=made)
    eta = 0.2 + 0.15 * number + 0.004 * torch.randn(count, generator=made)
    size = tracks * points
    event = torch.arange(events).repeat_interleave(size)
    order = torch.argsort(event + torch.rand(count, generator=made))
    return Batch(
        points=torch.stack([torch.zeros(count), eta, phi, r], 1)[order],
        offsets=torch.arange(0, count + 1, size),
        event_id=torch.arange(events) + 100 * seed,
        per_point={"track": number[order]},
    )


def parts(output) -> dict[str, torch.Tensor]:
    """The tensors of what a model or a head gives, by name."""
    if isinstance(output, torch.Tensor):
        return {"": output}
    found = {}
    for name, each in vars(output).items():
        if isinstance(each, torch.Tensor) or hasattr(each, "__dataclass_fields__"):
            found |= {f"{name}.{below}": part for below, part in parts(each).items()}
    return found


def with_truth(batch: Batch, **truth) -> Batch:
    """The batch with other truth of its points."""
    return replace(batch, per_point={**batch.per_point, **truth})


def turned(batch: Batch, order) -> Batch:
    """A batch of one event whose points come in another order."""
    rows = {name: each[order] for name, each in batch.per_point.items()}
    return replace(batch, points=batch.points[order], per_point=rows)


def trained(module, loss_of, batches, *, rate=1e-2):
    """Train `module` once over the batches; return the first loss and the last."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate)
    losses = []
    for batch in batches:
        optimiser.zero_grad()
        loss = loss_of(module(batch), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return np.mean(losses[:5]), np.mean(losses[-5:])


def pretrained(model, batches, **changes):
    """The losses before and after a pretraining of `model` by its own objectives."""
    torch.manual_seed(0)
    system = systems.build(model, None)
    return trained(system.module, lambda o, b: system.objective(o, b)[0], batches, **changes)


def found(model, head, batches, test, **changes):
    """The scores of the tracks that a head finds in `test`, trained from scratch on `batches`."""
    torch.manual_seed(0)
    network, task = Downstream(model, head), head.module()
    trained(network, lambda o, b: sum(task.loss(o, b, head).values()), batches, **changes)
    network.eval()
    with torch.no_grad():
        told = task.predict(network(test), test, head)["track"].numpy()
    true, offsets = test.per_point["track"].numpy(), test.offsets.numpy()
    return evaluate_events(true, told, offsets, seed=1)
