"""The names under which the authors' code keeps the weights of FM4NPP.

github.com/FM4NPP/PP_collision, fm4npp/models/mambagpt.py and embed.py at 0a0a17c, mamba2.py at
863cb28 (CITATION.cff names MIT), and mamba_ssm's Mamba. Columns of the frozen projections stand in
the authors' order, so nothing is permuted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.families.fm4npp.spec import FM4NPP, projected_features
from pipeline.nn.published import Entry

SOURCE = "FM4NPP, fm4npp/models/mambagpt.py (https://github.com/FM4NPP/PP_collision)"
LICENCE = "MIT, as CITATION.cff says"
SHARED = ("A_log", "D", "in_proj.weight", "out_proj.weight")
OF_MIXER = {
    "fm4npp-mamba": ("x_proj.weight", "dt_proj.weight", "dt_proj.bias"),
    "fm4npp-mamba2": ("dt_bias", "lin_B.weight", "lin_C.weight", "norm.weight"),
}


@dataclass(frozen=True)
class Depthwise(Entry):
    """The taps of a convolution in which no channel sees another: (C, 1, T) in theirs."""

    def imported(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the taps (C, T)."""
        (taps,) = weights
        return taps.squeeze(1)

    def exported(self, weight: Tensor) -> list[Tensor]:
        """Return the taps (C, 1, T)."""
        return [weight.unsqueeze(1)]


def entries(model: FM4NPP) -> Iterator[Entry]:
    """Yield each weight of the pretrained network by our name and by the authors'."""
    yield Entry("backbone.embedding.energy", "embedder.proj")
    if projected_features(model.embedding):
        yield Entry("backbone.embedding.position", "embedder.embed.projection")
    if model.combine == "concat":
        yield Entry("backbone.embedding.mixed", "embedder.proj2")
    for layer in range(model.layers):
        ours, theirs = f"backbone.layers.{layer}", f"mamba_layers.{layer}"
        yield Entry(f"{ours}.norm.weight", f"{theirs}.0.weight")
        for name in (*SHARED, *OF_MIXER[model.family]):
            yield Entry(f"{ours}.mixer.{name}", f"{theirs}.1.{name}")
        yield Depthwise(f"{ours}.mixer.conv_weight", f"{theirs}.1.conv1d.weight")
        yield Entry(f"{ours}.mixer.conv_bias", f"{theirs}.1.conv1d.bias")
    yield Entry("norm.weight", "norm.weight")
    yield Entry("head.weight", "output_layer.weight")
    yield Entry("head.bias", "output_layer.bias")
