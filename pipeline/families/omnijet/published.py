"""The names under which the authors' code keeps the weights of OmniJet-alpha's backbone and heads.

github.com/uhh-pd-ml/omnijet_alpha at 1c8d442, gabbro/models/gpt_model.py and backbone.py.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from pipeline.families.omnijet.spec import OmniJet
from pipeline.nn.published import Entry, affine

SOURCE = "OmniJet-alpha, gabbro/models (https://github.com/uhh-pd-ml/omnijet_alpha)"
LICENCE = "none found there"

MASK = ".tril"  # a constant, the causal mask
CLASS_BLOCKS = 3  # of the head whose token attends to a jet
# What that head holds and nothing uses: no slope ever reaches it.
UNUSED = ("head.input_projection.", ".norm2.", ".mlp.")


def weights_of(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file without the causal masks."""
    return {name: each for name, each in given.items() if not name.endswith(MASK)}


def entries(model: OmniJet) -> Iterator[Entry]:
    """Yield each weight of the model of tokens by our name and by the authors'."""
    yield from backbone(model)
    yield from affine("head", "head.fc1")


def backbone(model: OmniJet) -> Iterator[Entry]:
    """Yield each weight of the backbone."""
    yield Entry("backbone.embedding.weight", "module.embedding_table.weight")
    for number in range(model.layers):
        ours, theirs = f"backbone.blocks.{number}", f"module.GPT_blocks.{number}"
        attention = f"{theirs}.mha_block"
        yield Entry(
            f"{ours}.attention.qkv.weight",
            tuple(f"{attention}.{name}.weight" for name in ("query", "key", "value")),
        )
        yield from affine(f"{ours}.attention.out", f"{attention}.proj")
        yield from affine(f"{ours}.feed_forward.up", f"{theirs}.ff_block.net.0")
        yield from affine(f"{ours}.feed_forward.down", f"{theirs}.ff_block.net.2")
        yield from affine(f"{ours}.norms.0", f"{theirs}.layernorm_1")
        yield from affine(f"{ours}.norms.1", f"{theirs}.layernorm_2")


def class_attention(model: OmniJet) -> Iterator[Entry]:
    """Yield each weight of the backbone with the head whose token attends to a jet."""
    yield from backbone(model)
    yield Entry("head.token", "head.class_token")
    for number in range(CLASS_BLOCKS):
        ours, theirs = f"head.blocks.{number}", f"head.class_attention_blocks.{number}"
        yield from affine(f"{ours}.norm", f"{theirs}.norm1")
        for name in ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"):
            yield Entry(f"{ours}.attend.{name}", f"{theirs}.attn.{name}")
    for number, place in enumerate((0, 3, 6)):
        yield from affine(f"head.last.{number}", f"head.final_mlp.{place}")


def summation(model: OmniJet) -> Iterator[Entry]:
    """Yield each weight of the backbone with the head that sums over a jet."""
    yield from backbone(model)
    yield from affine("head.each", "head.classification_head_linear_embed")
    yield from affine("head.classes", "head.classification_head_linear_class")
