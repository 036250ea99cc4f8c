"""What a campaign asks: datasets × models × grids × tasks, resolved into tasks with keys."""

from pipeline.campaign.grid import SHELF, Campaign, load_campaign
from pipeline.campaign.memory import too_big
from pipeline.campaign.sections import (
    JETCLASS_PROCESSES,
    Dataset,
    Examine,
    Finetune,
    Mode,
    Order,
    Pretrain,
    Simulation,
    Tokenize,
)
from pipeline.campaign.tasks import (
    CHAINED,
    EvaluateTask,
    ExamineTask,
    FeaturesTask,
    FinetuneTask,
    PretrainTask,
    SimulateTask,
    StageTask,
    Task,
    TokenizeTask,
    Trunk,
    declare,
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
    "Examine",
    "ExamineTask",
    "FeaturesTask",
    "Finetune",
    "FinetuneTask",
    "Mode",
    "Order",
    "Pretrain",
    "PretrainTask",
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
