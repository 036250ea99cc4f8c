"""A campaign: datasets × models × grids × downstream tasks, resolved into tasks with keys."""

from pipeline.campaign.grid import SHELF, Campaign, load_campaign
from pipeline.campaign.memory import too_big
from pipeline.campaign.sections import (
    JETCLASS_PROCESSES,
    Dataset,
    Finetune,
    Mode,
    Order,
    Pretrain,
    Probe,
    Simulation,
    Tokenize,
)
from pipeline.campaign.stored import declare
from pipeline.campaign.tasks import (
    CHAINED,
    EvaluateTask,
    FeaturesTask,
    FetchTask,
    FinetuneTask,
    PredictTask,
    PretrainTask,
    ProbeTask,
    SimulateTask,
    StageTask,
    Task,
    TokenizeTask,
    Trunk,
    to_toml,
)
from pipeline.campaign.training import Training, Validation

__all__ = [
    "CHAINED",
    "JETCLASS_PROCESSES",
    "SHELF",
    "Campaign",
    "Dataset",
    "EvaluateTask",
    "FeaturesTask",
    "FetchTask",
    "Finetune",
    "FinetuneTask",
    "Mode",
    "Order",
    "PredictTask",
    "Pretrain",
    "PretrainTask",
    "Probe",
    "ProbeTask",
    "SimulateTask",
    "Simulation",
    "StageTask",
    "Task",
    "Tokenize",
    "TokenizeTask",
    "Training",
    "Trunk",
    "Validation",
    "declare",
    "load_campaign",
    "to_toml",
    "too_big",
]
