"""Trials of the shipped tasks go on from a checkpoint bit for bit; images and glue are in their own tests."""

import pytest

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.breast_cancer import BreastCancer
from hpsearch.tasks.digits import Digits
from hpsearch.tasks.pydoc_lm import PydocLM
from hpsearch.tasks.tabular import Tabular
from tests.training.resuming import assert_goes_on

TASKS = {
    "digits": lambda folder: Digits(model="convnet", label_noise=0.2),
    "breast_cancer": lambda folder: BreastCancer(),
    "pydoc_lm": lambda folder: PydocLM(context=32, layers=1, dropout=0.1, train_fraction=0.02),
    "tabular": lambda folder: Tabular(path=str(folder / "table.csv"), target="y", dropout=0.2),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_trial_goes_on_in_the_middle_of_its_second_epoch(name, tmp_path):
    rows = "\n".join(f"{i % 7},{i * 31 % 11},{'high' if i * 31 % 11 > i % 7 else 'low'}" for i in range(300))
    (tmp_path / "table.csv").write_text(f"a,b,y\n{rows}\n")
    settings = Settings.merge({"epochs": 3, "batch_size": 32, "rho": 0.05, "num_shards": 2, "lr": 0.05})
    batches = len(TASKS[name](tmp_path).data(5).train[0]) // 32
    assert_goes_on(lambda: TASKS[name](tmp_path), settings, tmp_path / "trial.pt", batches + batches // 2)
