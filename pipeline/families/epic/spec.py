"""EPiC-FM: a flow on sets of points that speak through one vector of the event, without attention.

Equivariant point-cloud layers: Buhmann, Kasieczka, Thaler, arXiv:2301.08128; as the velocity of a
flow: Buhmann et al., arXiv:2310.00049, and Birk et al., arXiv:2312.00123, of ten kinds of jets.
Axes: W channels of a point, G of the event, C of what is known of it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from pipeline.families.family import Parameters, Reads, linear
from pipeline.families.flow import MULTIPLICITY, Generative
from pipeline.families.jet_columns import IDENTITY, IMPACT

KINEMATICS = ("deta", "dphi", "log_pt")
_JETCLASS = {"layers": 20, "width": 300, "global_width": 16, "classes": 10}


def normed(inputs: int, outputs: int) -> int:
    """Return the parameters of a linear layer whose rows have a length of their own."""
    return linear(inputs, outputs) + outputs


class EPiC(Generative):
    """Layers of `width` channels of a point and `global_width` of the event.

    What is known of the event goes into each layer: the time, in `time_width` channels, its label
    if there are several `classes`, and `conditions`.
    """

    TITLE: ClassVar[str] = "EPiC-FM: flow matching with equivariant point-cloud layers"
    SOURCE: ClassVar[str] = (
        "arXiv:2310.00049 and 2312.00123; layers and widths of "
        "github.com/uhh-pd-ml/beyond_kinematics; counts are our arithmetic"
    )
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "jetnet": {"layers": 6, "width": 128, "global_width": 10},
        "jetclass": _JETCLASS,
        "jetclass-full": {**_JETCLASS, "columns": (*KINEMATICS, *IMPACT, *IDENTITY)},
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("flow",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"flow": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass

    family: Literal["epic-fm"] = "epic-fm"
    columns: tuple[str, ...] = KINEMATICS
    conditions: tuple[str, ...] = (MULTIPLICITY,)
    width: PositiveInt
    global_width: PositiveInt
    layers: PositiveInt
    time_width: PositiveInt = 16

    @model_validator(mode="after")
    def _sines_and_cosines(self) -> Self:
        """Check that there are as many sines as cosines of the time."""
        if self.time_width % 2:
            message = f"time_width {self.time_width}: give an even number, of sines and cosines"
            raise ValueError(message)
        return self

    @property
    def context(self) -> int:
        """The number of channels of what is known of an event."""
        return self.time_width + self.labelled * self.classes + len(self.conditions)

    @property
    def hidden(self) -> tuple[int, int]:
        """One, the last, and its width."""
        return 1, self.width

    def reads(self) -> Reads:
        """Return the columns that flow, and what is known of an event."""
        return self.read(self.columns)

    def reads_downstream(self) -> Reads:
        """Return the same without the label."""
        return self.without_label(self.reads())

    def parameters(self) -> Parameters:
        """Return the count of all layers; each linear one has a length for each of its rows."""
        width, flows, known = self.width, len(self.columns), self.context
        entry = normed(flows + known, width) + normed(width, width)
        of_event = normed(2 * width + known, width) + normed(width, self.global_width)
        local = normed(width + self.global_width + known, width) + normed(width, width)
        pooled = normed(2 * width + self.global_width + known, width) + normed(
            width, self.global_width
        )
        return Parameters(entry + of_event + self.layers * (local + pooled) + normed(width, flows))

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of an event over the `tokens` points it has."""
        width, flows, known, layers = self.width, len(self.columns), self.context, self.layers
        of_point = width * (flows + known + width)
        of_point += layers * width * (2 * width + self.global_width + known) + width * flows
        of_event = width * (2 * width + known + self.global_width)
        of_event += layers * width * (2 * width + 2 * self.global_width + known)
        return 6.0 * (of_point + of_event / tokens)
