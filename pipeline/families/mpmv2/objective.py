"""What is minimised of masked constituents: the seven tasks of MPMv2 (arXiv:2409.12589, §3).

Each is the mean over the masked constituents of a jet, and then over jets. Axes: M masked
constituents · B jets.
"""

from torch import Tensor
from torch.nn import functional

from pipeline.families.mpmv2.module import Masked
from pipeline.nn.batch import Batch
from pipeline.nn.losses import Losses


def identity(output: Masked, batch: Batch) -> Losses:
    """Return the cross-entropy of the kind of particle, nats."""
    return _entropy("identity", output, batch)


def tokens(output: Masked, batch: Batch) -> Losses:
    """Return the cross-entropy of the code of a VQ-VAE, nats."""
    return _entropy("tokens", output, batch)


def clusters(output: Masked, batch: Batch) -> Losses:
    """Return the cross-entropy of the nearest centre, nats."""
    return _entropy("clusters", output, batch)


def regression(output: Masked, batch: Batch) -> Losses:
    """Return the mean absolute error of the features."""
    prediction = output.predictions["regression"]
    return _mean(
        "regression", (prediction.predicted.float() - prediction.true).abs().mean(1), output, batch
    )


def cnf(output: Masked, batch: Batch) -> Losses:
    """Return the negative log-likelihood of the features, nats."""
    return _mean("cnf", -output.predictions["cnf"].predicted, output, batch)


def cfm(output: Masked, batch: Batch) -> Losses:
    """Return the mean squared error of the velocity (arXiv:2210.02747, eq. 14)."""
    return _velocity("cfm", output, batch)


def ssfm(output: Masked, batch: Batch) -> Losses:
    """Return the mean squared error of the velocity of a set."""
    return _velocity("ssfm", output, batch)


def _entropy(name: str, output: Masked, batch: Batch) -> Losses:
    prediction = output.predictions[name]
    entropy = functional.cross_entropy(
        prediction.predicted.float(), prediction.true, reduction="none"
    )
    return _mean(name, entropy, output, batch)


def _velocity(name: str, output: Masked, batch: Batch) -> Losses:
    prediction = output.predictions[name]
    return _mean(
        name, (prediction.predicted.float() - prediction.true).square().mean(1), output, batch
    )


def _mean(name: str, values: Tensor, output: Masked, batch: Batch) -> Losses:
    """Return the mean over jets of the mean of values (M) over what is masked in each."""
    event = batch.event[output.rows]
    zeros = values.new_zeros(batch.lengths.events)
    total = zeros.index_add(0, event, values)
    count = zeros.index_add(0, event, values.new_ones(len(values)))
    return {name: (total / count.clamp(min=1)).mean()}
