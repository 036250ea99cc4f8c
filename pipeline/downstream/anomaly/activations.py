"""What the memory of a head that looks for anomalies grows with: as of one that classifies jets."""

from pipeline.downstream.anomaly.spec import AnomalyTask
from pipeline.downstream.jets.activations import count, pooled
from pipeline.families.activations import Growth, Taken
from pipeline.families.family import Family


def terms(task: AnomalyTask, model: Family, taken: Taken) -> Growth:
    """Return the terms of the pooling."""
    return pooled(task.pooling, task.heads, 0, model, taken)


def parameters(task: AnomalyTask, model: Family) -> int:
    """Return the number of parameters, of two classes."""
    return count(task.pooling, 0, 2, model)
