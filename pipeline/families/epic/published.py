"""The names under which the authors' code keeps the weights of EPiC-FM.

uhh-pd-ml/EPiC-FM, src/models/components/epic.py at 09294eb (MIT). A layer whose rows have lengths
of their own has these as weight_g (outputs, 1) and its directions as weight_v (outputs, inputs).
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from pipeline.families.epic.spec import EPiC
from pipeline.nn.published import Entry

SOURCE = "EPiC-FM, src/models/components/epic.py (https://github.com/uhh-pd-ml/EPiC-FM)"
LICENCE = "MIT"
PREFIX = "flows.0.net."
FREQUENCIES = "frequencies"  # a constant, from which nothing is computed here


def weights_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file without the frequencies of the time."""
    return {name: each for name, each in weights.items() if not name.endswith(FREQUENCIES)}


def entries(model: EPiC) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield from _steps("backbone.entry", "fc_l", 2)
    yield from _steps("backbone.event", "fc_g", 2)
    for number in range(model.layers):
        ours, theirs = f"backbone.blocks.{number}", f"nn_list.{number}"
        yield from _steps(f"{ours}.event", f"{theirs}.fc_global", 2)
        yield from _steps(f"{ours}.point", f"{theirs}.fc_local", 2)
    yield from _step("last", "fc_l3")


def _steps(ours: str, theirs: str, count: int) -> Iterator[Entry]:
    for number in range(count):
        yield from _step(f"{ours}.{number}", f"{theirs}{number + 1}")


def _step(ours: str, theirs: str) -> Iterator[Entry]:
    linear = f"{ours}.linear"
    yield Entry(f"{linear}.bias", f"{theirs}.bias")
    yield Entry(f"{linear}.parametrizations.weight.original0", f"{theirs}.weight_g")
    yield Entry(f"{linear}.parametrizations.weight.original1", f"{theirs}.weight_v")
