"""EPiC-FM: a flow on sets of points that speak through one vector of the event, without attention.

Equivariant point-cloud layers: Buhmann, Kasieczka, Thaler, arXiv:2301.08128; as the velocity of a
flow: Buhmann et al., arXiv:2310.00049, and Birk et al., arXiv:2312.00123, of ten kinds of jets. The
wiring is that of the authors' code, uhh-pd-ml/EPiC-FM at 09294eb (MIT).
Axes: W channels of a point, G of the event, K of the time, C of the conditions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

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

    Each linear layer, of points and of the event, is given the time in `time_width` channels, the
    label if there are several `classes`, and `conditions`. `time` "cosine" are cos(π e^j t), as
    published: with more than about twelve channels the highest are no smooth function of the time
    any more; "sincos" are cosines and sines of π 2^j t. Noise keeps a share of `sigma` at time 0.

    Objectives: `flow` is the squared error of the velocity, summed over columns, and the mean over
    all points of a batch, as published; `flow_per_event` the mean over columns, points, then
    events, the same however a batch is shared among processes.
    """

    TITLE: ClassVar[str] = "EPiC-FM: flow matching with equivariant point-cloud layers"
    HELD_TO: ClassVar[str] = "the outputs of EPiC-FM at 09294eb within 4e-7"
    SOURCE: ClassVar[str] = (
        "arXiv:2310.00049 and 2312.00123; wiring of github.com/uhh-pd-ml/EPiC-FM, layers and "
        "widths of jetclass of github.com/uhh-pd-ml/beyond_kinematics"
    )
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "jetnet": {"layers": 6, "width": 128, "global_width": 10, "conditions": ()},
        "jetclass": _JETCLASS,
        "jetclass-full": {**_JETCLASS, "columns": (*KINEMATICS, *IMPACT, *IDENTITY)},
    }
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("flow", "flow_per_event")
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"flow": 1.0}
    TOKENS: ClassVar[float] = 40  # about the constituents of a jet of JetClass
    NOT_SHAPES: ClassVar[frozenset[str]] = Generative.NOT_SHAPES | {"sigma"}

    family: Literal["epic-fm"] = "epic-fm"
    columns: tuple[str, ...] = KINEMATICS
    conditions: tuple[str, ...] = (MULTIPLICITY,)
    width: PositiveInt
    global_width: PositiveInt
    layers: PositiveInt
    time_width: PositiveInt = 32
    time: Literal["cosine", "sincos"] = "cosine"
    sigma: float = Field(default=1e-4, ge=0, lt=1)

    @model_validator(mode="after")
    def _sines_and_cosines(self) -> Self:
        """Check that there are as many sines as cosines of the time."""
        if self.time == "sincos" and self.time_width % 2:
            message = f"time_width {self.time_width}: give an even number, of sines and cosines"
            raise ValueError(message)
        return self

    @property
    def context(self) -> int:
        """The number of channels of time and conditions, which each linear layer is given."""
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
        width, many, flows = self.width, self.global_width, len(self.columns)

        def given(inputs: int, outputs: int) -> int:
            return normed(inputs + self.context, outputs)

        entry = given(flows, width) + given(width, width)
        of_event = given(2 * width, width) + given(width, many)
        layer = given(2 * width + many, width) + given(width, many)
        layer += given(width + many, width) + given(width, width)
        return Parameters(entry + of_event + self.layers * layer + given(width, flows))

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs of an event over the `tokens` points it has."""
        width, many, flows, known = self.width, self.global_width, len(self.columns), self.context
        of_point = width * (flows + known) + (width + flows) * (width + known)
        of_point += self.layers * width * (2 * width + many + 2 * known)
        of_event = width * (2 * width + known) + many * (width + known)
        of_event += self.layers * (width * (2 * width + many + known) + many * (width + known))
        return 6.0 * (of_point + of_event / tokens)
