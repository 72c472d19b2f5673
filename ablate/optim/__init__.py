"""Optimizers, learning-rate schedules, parameter groups, the batch ramp; importing it imports no torch."""

from ablate.optim.batch import batch_size
from ablate.optim.groups import parameter_groups
from ablate.optim.optimizers import SGD, Adam, AdamW, OptimizerConfig
from ablate.optim.schedules import Schedule, ScheduleConfig, Triangle2

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "OptimizerConfig",
    "Schedule",
    "ScheduleConfig",
    "Triangle2",
    "batch_size",
    "parameter_groups",
]
