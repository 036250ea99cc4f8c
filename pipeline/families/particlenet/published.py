"""The names under which the authors' code keeps the weights of ParticleNet.

weaver-core, weaver/nn/model/ParticleNet.py at 154db69 (MIT). The files of jet-universe's
particle_transformer/models have the prefix "mod." before each name. Convolutions of size 1 are
linear layers here.
"""

from collections.abc import Iterator

from pipeline.families.particlenet.spec import ParticleNet
from pipeline.nn.published import Entry, norm

PREFIX = "mod."


def entries(model: ParticleNet) -> Iterator[Entry]:
    """Yield each weight of the classifier by our name and by the authors'."""
    yield from norm("backbone.norm_inputs", "bn_fts")
    for block in range(model.layers):
        ours, theirs = f"backbone.layers.{block}", f"edge_convs.{block}"
        for layer in range(model.convolutions):
            name = f"further.{layer - 1}" if layer else "first"
            yield Entry(f"{ours}.{name}.weight", f"{theirs}.convs.{layer}.weight", kernel=2)
            yield from norm(f"{ours}.norms.{layer}", f"{theirs}.bns.{layer}")
        yield Entry(f"{ours}.shortcut.weight", f"{theirs}.sc.weight", kernel=1)
        yield from norm(f"{ours}.norm_shortcut", f"{theirs}.sc_bn")
    for ours, theirs in (("backbone.inner", "fc.0.0"), ("classes", "fc.1")):
        yield Entry(f"{ours}.weight", f"{theirs}.weight")
        yield Entry(f"{ours}.bias", f"{theirs}.bias")
