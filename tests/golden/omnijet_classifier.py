"""OmniJet-alpha's summation head held to the authors' own: states, logits, loss and gradients.

Theirs sums over start and stop too, so here they are words like others; ours sums constituents.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pipeline.downstream.jets.module import SummationHead
from pipeline.families.omnijet import published as names
from pipeline.families.omnijet.module import Backbone, started
from pipeline.families.omnijet.spec import START, TOKEN
from pipeline.nn.batch import Batch
from pipeline.nn.hidden import Hidden
from tests.golden import omnijet
from tests.golden.cases import Case, Row, compared, compared_gradients, gradient_norms


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    system = str(case.about.get("peer_class"))
    return system.startswith("BackboneClassification") and case.configuration["head"] == "summation"


class Classifier(nn.Module):
    """The backbone and the head, by the names that fine-tuning gives them."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        model = omnijet.model_of(case)
        self.backbone = Backbone(model)
        self.head = SummationHead(model.width, case.configuration["classes"])


def batch_of(case: Case) -> Batch:
    """Return the jets packed, each with the words behind start, of which the last is stop."""
    words, real = case.arrays["in_tokens"], case.arrays["in_mask"] > 0
    assert (words[:, 0] == START).all()
    behind = real.copy()
    behind[:, 0] = False
    return Batch(
        torch.zeros(int(behind.sum()), 3),
        torch.from_numpy(np.concatenate([[0], np.cumsum(behind.sum(1))])),
        torch.arange(len(words)),
        per_point={TOKEN: torch.from_numpy(words[behind] - 1)},
        per_event={"label": torch.from_numpy(case.arrays["in_label"])},
    )


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    batch, entries = batch_of(case), list(names.summation(omnijet.model_of(case)))
    module = omnijet.loaded(Classifier(case), case, entries)
    states = module.backbone(batch)
    yield compared(case, "out_backbone", states.detach(), where=case.arrays["in_mask"] > 0)
    with_start = Batch(states, started(batch.offsets), batch.event_id)
    logits = module.head(Hidden([states]), with_start)
    yield compared(case, "out_logits", logits.detach())
    loss = functional.cross_entropy(logits, batch.per_event["label"])
    yield compared(case, "out_loss", loss.detach())
    loss.backward()
    yield compared_gradients(case, "grad_names", "grad_norms", gradient_norms(module, entries))
