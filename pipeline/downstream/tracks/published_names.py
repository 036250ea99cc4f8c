"""The names under which the authors' code keeps the weights of FM4NPP's track-finding head.

train/downstream/model.py of github.com/FM4NPP/PP_collision at 0a0a17c (CITATION.cff names MIT).
"""

from collections.abc import Iterator

from pipeline.downstream.tracks.spec import TrackTask
from pipeline.nn.published import Entry, affine

# Further heads on the same queries and points, which track finding has no loss for, and an
# embedding that nothing reads.
OTHERS = ("pid_mlp.", "track_mlp.", "noise_mlp.", "embedder.")
OF_ATTENTION = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")


def entries(task: TrackTask) -> Iterator[Entry]:
    """Yield each weight of the head by our name and by the authors'."""
    yield Entry("weights", "weighted_avg_weights")
    yield from affine("norm_states", "input_proj.0")
    yield from affine("project", "input_proj.1")
    yield Entry("norm_points.weight", "norm.weight")
    yield Entry("queries", "prototype_embed.weight")
    yield Entry("places", "pos_emb_embed.weight")
    for ours, theirs in (
        ("points", "output_layer"),
        ("classify", "class_mlp"),
        ("mask", "mask_mlp"),
    ):
        yield from mlp(ours, theirs)
    for number in range(task.layers):
        ours, theirs = f"rounds.{number}", f"refinement_layers.{number}"
        for part, name in (("cross", "cross_attn"), ("among", "self_attn")):
            for weight in OF_ATTENTION:
                yield Entry(f"{ours}.{part}.{weight}", f"{theirs}.{name}.attn.{weight}")
            yield from affine(f"{ours}.norm_{part}", f"{theirs}.{name}.norm")
        yield from affine(f"{ours}.inner.0", f"{theirs}.ffn.ffn.0")
        yield from affine(f"{ours}.inner.2", f"{theirs}.ffn.ffn.2")
        yield from affine(f"{ours}.norm_inner", f"{theirs}.ffn.norm")


def mlp(ours: str, theirs: str) -> Iterator[Entry]:
    """Yield the entries of a LayerNorm and two linear layers; the authors have dropout between."""
    for number, name in ((0, 0), (1, 1), (3, 4)):
        yield from affine(f"{ours}.{number}", f"{theirs}.model.{name}")
