"""MPM's classifier held to the authors' own: states, logits, loss and gradients."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.downstream.jets.module import MeanHead
from pipeline.families.mpm import published as names
from pipeline.families.mpm.module import Pretrainer
from pipeline.nn.hidden import Hidden
from pipeline.nn.lengths import Lengths
from tests.golden import mpm
from tests.golden.cases import Case, Row, compared, compared_gradients


def knows(case: Case) -> bool:
    """Return whether `case` is of this system."""
    return mpm.SYSTEM in case.about.get("repository", ()) and "out_backbone" in case.arrays


class Classifier(Pretrainer):
    """The pretrained model, of which the backbone alone is used, and the head of a fine-tuning."""

    def __init__(self, case: Case) -> None:
        model, given = mpm.model_of(case), case.configuration
        super().__init__(model)
        self.head: nn.Module = MeanHead(model.width, given["finaliser_out"], given["jet_classes"])


def held(case: Case) -> Iterator[Row]:
    """Yield how each array of the case compares."""
    batch = mpm.batch_of(case)
    entries = list(names.classifier(mpm.model_of(case)))
    module = mpm.loaded(Classifier(case), case, entries, prefix="backbone.")
    states = module.backbone.states(batch.points, Lengths.of(batch.offsets))
    yield compared(case, "out_backbone", states.detach(), where=mpm.real_of(case))
    logits = module.head(Hidden([states]), batch)
    yield compared(case, "out_logits", as_published(case, logits.detach()))
    loss = functional.cross_entropy(logits, torch.from_numpy(case.arrays["in_jet_label"]).long())
    yield compared(case, "out_loss", loss.detach())
    loss.backward()
    found = mpm.gradients(case, module, entries)
    yield compared_gradients(case, "grad_names", "grad_norms", found)


def as_published(case: Case, logits: Tensor) -> Tensor:
    """Return our logits (B, C) in their shape: of two classes one, that of the second."""
    if case.configuration["jet_classes"] > 2:
        return logits
    return logits[:, 1:].reshape(case.arrays["out_logits"].shape)
