"""PointGPT-type: patches of points, predicted one after another.

After PointGPT (Chen et al., arXiv:2305.11487), in the sizes of the FM4NPP slides of May 2025. The
slides give width, layers (backbone, encoder, decoder), heads and parameters, and no more. Blocks of
12 W² + 13 W parameters reproduce every printed count with 6 to 11 W more; here these are 9 W + 3: a
point embedded from three coordinates (4 W), the last norm (2 W), and a head of three coordinates
(3 W + 3).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from pipeline.families.family import Family, Parameters, Reads, linear

COORDINATES = 3


def _size(
    width: int, layers: tuple[int, int, int], heads: tuple[int, int, int]
) -> Mapping[str, Any]:
    backbone, encoder, decoder = layers
    return {
        "width": width,
        "backbone_layers": backbone,
        "encoder_layers": encoder,
        "decoder_layers": decoder,
        "heads": heads,
    }


class PointGPT(Family):
    """A backbone over patches, an encoder and a decoder over the points of each.

    An event gets a patch for every half of `patch_points` points, at most `patches`: centres are
    farthest points, a patch is the nearest points of its centre. `heads` are those of backbone,
    encoder and decoder. `hidden_share` of the patches before the predicted one are hidden from the
    others, on top of the causal order.
    """

    TITLE: ClassVar[str] = "PointGPT-type: patches predicted one after another"
    SOURCE: ClassVar[str] = (
        "arXiv:2305.11487 in the sizes of the FM4NPP slides; m8 has the 18 layers that its printed "
        "509.98M asks for, m8-20 the 20 that are printed beside it"
    )
    SIZES: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "m1": _size(128, (6, 3, 3), (4, 2, 2)),
        "m2": _size(196, (6, 3, 3), (4, 2, 2)),
        "m3": _size(256, (6, 3, 3), (8, 4, 4)),
        "m4": _size(384, (6, 3, 3), (8, 4, 4)),
        "m5": _size(512, (8, 3, 3), (8, 4, 4)),
        "m6": _size(768, (8, 3, 3), (8, 4, 4)),
        "m7": _size(1024, (10, 4, 4), (16, 4, 4)),
        "m8": _size(1536, (10, 4, 4), (16, 4, 4)),
        "m8-20": _size(1536, (12, 4, 4), (16, 4, 4)),
        "m9": _size(2048, (12, 4, 4), (16, 4, 4)),
    }
    TAKES_HEADS: ClassVar[bool] = False
    OBJECTIVES: ClassVar[tuple[str, ...]] = ("chamfer",)
    DEFAULT_OBJECTIVES: ClassVar[Mapping[str, float]] = {"chamfer": 1.0}
    TOKENS: ClassVar[float] = 54  # patches of 856 points, the mean of TPCpp-10M
    NOT_SHAPES: ClassVar[frozenset[str]] = Family.NOT_SHAPES | {"hidden_share"}

    family: Literal["pointgpt"] = "pointgpt"
    width: PositiveInt
    backbone_layers: PositiveInt
    encoder_layers: PositiveInt
    decoder_layers: PositiveInt
    heads: tuple[PositiveInt, PositiveInt, PositiveInt]
    patch_points: PositiveInt = 32
    patches: PositiveInt = 64
    hidden_share: float = Field(default=0.7, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        """Check that the heads share the width evenly."""
        for heads in self.heads:
            if self.width % heads:
                message = f"width {self.width} is no multiple of {heads} heads"
                raise ValueError(message)
        return self

    @property
    def layers(self) -> int:
        """All layers: backbone, encoder and decoder."""
        return self.backbone_layers + self.encoder_layers + self.decoder_layers

    def reads(self) -> Reads:
        """Return the coordinates of each point, in events of at least one patch."""
        return Reads(("eta", "phi", "r"), least_points=self.patch_points)

    def parameters(self) -> Parameters:
        """Return the count of the blocks, the embedding, the last norm and the head."""
        width = self.width
        block = 4 * linear(width, width) + linear(width, 4 * width) + linear(4 * width, width)
        norms = 4 * width
        outside = linear(COORDINATES, width) + 2 * width + linear(width, COORDINATES)
        return Parameters(self.layers * (block + norms) + outside)

    def flops_per_point(self, points: float) -> float:
        """Return the FLOPs of all patches of an event, over its `points`."""
        patches = min(self.patches, math.ceil(2 * points / self.patch_points))
        return patches * self.flops_per_token(patches) / points

    def flops_per_token(self, tokens: float) -> float:
        """Return the FLOPs per patch: the backbone takes one token of it, the others its points.

        Attention adds 2 W multiply-adds for each pair of tokens that see each other; the backbone
        is causal, so half of them.
        """
        width, points = self.width, self.patch_points
        matrices = 12 * width**2
        backbone = matrices + 2 * width * tokens / 2
        per_point = matrices + 2 * width * points
        small = (self.encoder_layers + self.decoder_layers) * per_point
        ends = 2 * COORDINATES * width
        return 6.0 * (self.backbone_layers * backbone + points * (small + ends))
