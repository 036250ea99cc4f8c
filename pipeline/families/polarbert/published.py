"""The names under which the authors' code keeps the weights of PolarBERT.

github.com/timinar/PolarBERT at 4969a6f (MIT): flash_model.py, swiglu_model.py and base_model.py for
the sizes of these names, finetuning.py for the direction.
"""

from collections.abc import Iterator

from pipeline.families.polarbert.spec import PolarBERT
from pipeline.nn.published import Entry, affine

SOURCE = "PolarBERT (https://github.com/timinar/PolarBERT)"
LICENCE = "MIT"
FINE_TUNED = "pretrained_model."


def entries(model: PolarBERT) -> Iterator[Entry]:
    """Yield each weight of the pretrained model, of sensors in a table, by both names."""
    yield from backbone(model)
    yield from affine("sensors", "unembedding")
    yield from affine("charge", "charge_prediction")


def direction(model: PolarBERT) -> Iterator[Entry]:
    """Yield each weight of the model that predicts the direction."""
    yield from backbone(model, FINE_TUNED)
    yield from affine("head.net.0", "fc1")
    yield from affine("head.net.2", "fc2")


def backbone(model: PolarBERT, prefix: str = "") -> Iterator[Entry]:
    """Yield each weight of the backbone; theirs begin with `prefix`."""
    embedding = f"{prefix}embedding"
    yield Entry("backbone.class_token", f"{embedding}.cls_embedding", leading=2)
    yield Entry("backbone.sensor.table.weight", f"{embedding}.dom_embedding.weight")
    yield from affine("backbone.features", f"{embedding}.features_embedding")
    for layer in range(model.layers):
        ours = f"backbone.body.layers.{layer}"
        if model.pytorch_layers:
            yield from _pytorch_layer(ours, f"{prefix}transformer.layers.{layer}")
        else:
            theirs = f"{prefix}transformer_blocks.{layer}"
            yield from _layer(ours, theirs, gated=model.activation == "swiglu")


def _layer(ours: str, theirs: str, *, gated: bool) -> Iterator[Entry]:
    """Yield the weights of a layer of flash or, `gated`, of swiglu."""
    attention, fed = f"{theirs}.attention", f"{theirs}.feed_forward"
    yield Entry(
        f"{ours}.attention.qkv.weight", tuple(f"{attention}.w{name}.weight" for name in "qkv")
    )
    yield Entry(f"{ours}.attention.out.weight", f"{attention}.wo.weight")
    if gated:
        yield Entry(f"{ours}.feed_forward.up.weight", (f"{fed}.w1.weight", f"{fed}.w2.weight"))
        yield Entry(f"{ours}.feed_forward.down.weight", f"{fed}.w3.weight")
    else:
        yield from affine(f"{ours}.feed_forward.up", f"{fed}.0")
        yield from affine(f"{ours}.feed_forward.down", f"{fed}.2")
    yield from affine(f"{ours}.norms.0", f"{theirs}.layer_norm1")
    yield from affine(f"{ours}.norms.1", f"{theirs}.layer_norm2")


def _pytorch_layer(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield the weights of torch's TransformerEncoderLayer."""
    attention = f"{theirs}.self_attn"
    yield Entry(f"{ours}.attention.qkv.weight", f"{attention}.in_proj_weight")
    yield Entry(f"{ours}.attention.qkv.bias", f"{attention}.in_proj_bias")
    yield from affine(f"{ours}.attention.out", f"{attention}.out_proj")
    yield from affine(f"{ours}.feed_forward.up", f"{theirs}.linear1")
    yield from affine(f"{ours}.feed_forward.down", f"{theirs}.linear2")
    yield from affine(f"{ours}.norms.0", f"{theirs}.norm1")
    yield from affine(f"{ours}.norms.1", f"{theirs}.norm2")
