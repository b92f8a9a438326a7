"""The keeper of checkpoints, by itself; with nodes and a driver it is in test_cluster.py."""

import pytest
import torch

from hpsearch.execution.keeper import Keeper, Kept
from hpsearch.training.checkpoint import Checkpoint


def test_what_is_written_is_read_and_stays_in_the_folder(tmp_path):
    keeper = Keeper(str(tmp_path / "run" / "checkpoints"))
    assert keeper.problem() is None and keeper.read("a.pt") is None
    keeper.write("a.pt", b"old")
    keeper.write("../../a.pt", b"new")
    assert keeper.read("a.pt") == b"new"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.pt")] == [
        (tmp_path / "run" / "checkpoints" / "a.pt").relative_to(tmp_path)
    ]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["a.pt"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "File exists" in Keeper(str(tmp_path / "file")).problem()


class Alone(Kept):
    """Where the keeper has died, or never was."""

    def _keeper(self):
        raise ValueError("Failed to look up actor")


def test_without_a_keeper_a_trial_starts_anew_and_is_not_stopped(tmp_path):
    keep = Checkpoint(Alone(tmp_path / "a.pt"), {})
    assert keep.load() is None
    with pytest.raises(OSError, match="the keeper of checkpoints did not take it"):  # which training goes on after
        keep.save({"weights": torch.ones(3)})
