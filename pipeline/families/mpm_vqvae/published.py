"""The names under which the authors' code keeps the weights of MPM's VQ-VAE.

github.com/rodem-hep/mpm, src/models/jet_vq_vae.py at c6ba855, with the quantiser of
github.com/minyoungg/vqtorch at 02e60a1 (MIT).
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from pipeline.families.mpm.published import encoder, normaliser
from pipeline.families.mpm_vqvae.spec import MPMVQVAE
from pipeline.nn.published import Entry

SOURCE = "MPM, src/models/jet_vq_vae.py (https://github.com/rodem-hep/mpm)"
LICENCE = "MIT"

STATE = ("quantizer.data_initialized", "quantizer._counts")  # of the training, no weights


def weights_of(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file without the state of its training."""
    return {name: each for name, each in given.items() if name not in STATE}


def entries(model: MPMVQVAE) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield from normaliser("normaliser", "node_norm")
    yield Entry("quantiser.learnt", "quantizer.codebook.weight")
    if model.affine_rate:
        yield Entry("quantiser.scale", "quantizer.affine_transform.scale", leading=1)
        yield Entry("quantiser.shift", "quantizer.affine_transform.bias", leading=1)
    for ours, theirs in (("encoder", "encoder"), ("decoder", "generator")):
        yield from encoder(ours, theirs, model.layers, norm=False)
