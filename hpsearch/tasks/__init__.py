"""Tasks: data, model and loss. `resolve` finds one by name; only torch is needed to train on them."""

from hpsearch.tasks.protocol import Classification, Data, Task
from hpsearch.tasks.registry import SHIPPED, TrainFunction, identity, is_task_class, resolve
from hpsearch.tasks.regression import Regression

__all__ = [
    "SHIPPED",
    "Classification",
    "Data",
    "Regression",
    "Task",
    "TrainFunction",
    "identity",
    "is_task_class",
    "resolve",
]
