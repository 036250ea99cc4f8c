"""The estimate of a training: its FLOPs over the rate that the devices sustain."""

from dataclasses import dataclass, replace

from pipeline.campaign import Training
from pipeline.families import Family
from pipeline.site import NodeClass

HOUR = 3600.0


@dataclass(frozen=True)
class Estimate:
    """The estimate of a training from its FLOPs, forward and backward over all events.

    `mfu` is the assumed or measured share of the peak rate; `device_hours` follow from it.
    """

    flops: float
    mfu: float
    measured: bool
    device_hours: float
    declared_device_hours: float

    @property
    def required_mfu(self) -> float:
        """The model FLOPs utilisation that the declared walltime requires, if it is all steps."""
        return self.mfu * self.device_hours / self.declared_device_hours

    def rest(self, begun: float) -> "Estimate":
        """Return the estimate of the rest, where the share `begun` of the events is done."""
        left = 1 - begun
        return replace(
            self,
            flops=left * self.flops,
            device_hours=left * self.device_hours,
            declared_device_hours=left * self.declared_device_hours,
        )


def estimate(
    model: Family, training: Training, node: NodeClass, points: float, measured_mfu: float | None
) -> Estimate | None:
    """Return the estimate of a `training` of `model`; None if FLOPs or peak rate are unknown.

    FLOPs are `flops_per_point` (forward and backward, multiply-add two; Kaplan et al.,
    arXiv:2001.08361, §2.1) × points × events; MFU is their rate over the devices' peak (Chowdhery
    et al., arXiv:2204.02311, appendix B).

    Args:
        model: The model to train.
        training: The number of events and devices, and the precision.
        node: The devices, with their peak rate and assumed MFU.
        points: The mean number of points per event.
        measured_mfu: The MFU that trainings of this model sustained, if any.
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
