"""What a training takes by its arithmetic: FLOPs over what the devices sustain."""

from dataclasses import dataclass

from pipeline.campaign import Training
from pipeline.families import Family
from pipeline.site import NodeClass

HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """A training by its FLOPs, forward and backward of all events.

    `mfu` is the share of the peak that is assumed, or was measured; `device_hours` follow from it.
    `required_mfu` is the share that the declared walltime comes to, if all of it is steps.
    """

    flops: float
    mfu: float
    measured: bool
    device_hours: float
    declared_device_hours: float

    @property
    def required_mfu(self) -> float:
        """The model FLOPs utilisation that does it in the declared walltime."""
        return self.mfu * self.device_hours / self.declared_device_hours


def estimate(
    model: Family, training: Training, node: NodeClass, points: float, measured_mfu: float | None
) -> Estimate | None:
    """Return what `training` of `model` takes; None where the FLOPs or the devices are not known.

    FLOPs are `flops_per_point` (forward and backward, multiply-add two; Kaplan et al.,
    arXiv:2001.08361, §2.1) × points × events; MFU is their rate over the devices' peak (Chowdhery
    et al., arXiv:2204.02311, appendix B).

    Args:
        model: What is trained.
        training: For how many events, on how many devices, in what precision.
        node: The devices, with their peak and what is assumed of it.
        points: Of an event, in the mean.
        measured_mfu: What trainings of this model sustained, if any did.
    """
    each = model.flops_per_point(points)
    peak = node.peak_tflops.get(training.precision)
    mfu = measured_mfu or node.mfu.get(training.precision)
    if each is None or peak is None or mfu is None:
        return None
    flops = each * points * training.events_seen
    return Estimate(
        flops=flops,
        mfu=mfu,
        measured=measured_mfu is not None,
        device_hours=flops / (peak * 1e12 * mfu) / HOUR,
        declared_device_hours=training.devices * training.walltime_minutes / 60,
    )
