"""What is minimised: the squared error of the velocity of points in noise.

Two means of the same errors. Axes: P points, packed · F columns that flow.
"""

from pipeline.nn.batch import Batch
from pipeline.nn.flow_losses import Flows
from pipeline.nn.flow_losses import flow as mean_over_events
from pipeline.nn.losses import Losses, points, pooled


@pooled(points)
def flow(output: Flows, batch: Batch) -> Losses:
    """Return the sum over columns, and its mean over all points: a large event counts more.

    In training that is the global batch. In the authors' code it is what a process takes forward at
    once, so that their means depend on the number of processes.
    """
    del batch
    assert output.flow is not None
    return {"flow": (output.flow.predicted.float() - output.flow.true).square().sum(1).mean()}


def flow_per_event(output: Flows, batch: Batch) -> Losses:
    """Return the mean over columns, points, then events: the same at any number of processes."""
    return {"flow_per_event": mean_over_events(output, batch)["flow"]}
