"""The names under which the authors' code keeps the weights of OmniJet-alpha's VQ-VAEs.

github.com/uhh-pd-ml/omnijet_alpha at 1c8d442, gabbro/models/vqvae.py, with the quantiser of
github.com/minyoungg/vqtorch at 02e60a1 (MIT).
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from pipeline.families.vqvae.spec import VQVAE, VQVAEMLP
from pipeline.nn.published import Entry, affine

SOURCE = "OmniJet-alpha, gabbro/models/vqvae.py (https://github.com/uhh-pd-ml/omnijet_alpha)"
LICENCE = "none found there"

STATE = ("vqlayer.data_initialized", "vqlayer._counts")  # of the training, no weights


def weights_of(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file without the state of its training."""
    return {name: each for name, each in given.items() if name not in STATE}


def entries(model: VQVAE | VQVAEMLP) -> Iterator[Entry]:
    """Yield each weight by our name and by the authors'."""
    yield Entry("quantiser.learnt", "vqlayer.codebook.weight")
    if model.affine_rate:
        transform = "vqlayer.affine_transform"
        yield Entry("quantiser.scale", f"{transform}.scale", leading=1)
        yield Entry("quantiser.shift", f"{transform}.bias", leading=1)
    if isinstance(model, VQVAEMLP):
        for part in ("encoder", "decoder"):
            for layer in range(model.layers + 1):
                yield from affine(f"{part}.layers.{layer}", f"{part}.{2 * layer}")
        return
    for part, first, last in (
        ("encoder", "input_projection", "latent_projection_in"),
        ("decoder", "latent_projection_out", "output_projection"),
    ):
        yield from affine(f"{part}.entry", first)
        for block in range(model.blocks):
            yield from _block(f"{part}.blocks.{block}", f"{part}_normformer.blocks.{block}")
        yield from affine(f"{part}.exit", last)


def _block(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield the weights of a NormFormer block."""
    yield from affine(f"{ours}.norms.0", f"{theirs}.norm1")
    yield Entry(f"{ours}.attention.qkv.weight", f"{theirs}.attn.in_proj_weight")
    yield Entry(f"{ours}.attention.qkv.bias", f"{theirs}.attn.in_proj_bias")
    yield from affine(f"{ours}.attention.out", f"{theirs}.attn.out_proj")
    yield from affine(f"{ours}.norm_attended", f"{theirs}.norm2")
    yield from affine(f"{ours}.norms.1", f"{theirs}.mlp.0")
    yield from affine(f"{ours}.feed_forward.up", f"{theirs}.mlp.1")
    yield from affine(f"{ours}.feed_forward.down", f"{theirs}.mlp.4")
