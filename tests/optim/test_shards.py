"""Shards are consecutive, disjoint, cover the batch and differ in size by one at most."""

from collections import UserDict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.optim.shards import split


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(rows=st.integers(1, 40), shards=st.integers(1, 50))
def test_shards_partition_the_batch(rows, shards):
    batch = (torch.arange(rows), torch.arange(rows) * 2)
    parts = split(batch, shards)
    assert torch.equal(torch.cat([part[0] for part, _ in parts]), batch[0])
    assert all(torch.equal(part[1], 2 * part[0]) and len(part[0]) == size for part, size in parts)
    sizes = [size for _, size in parts]
    assert len(parts) == min(rows, shards) and max(sizes) - min(sizes) <= 1 and min(sizes) >= 1


def test_nested_batches_keep_their_shape_and_what_is_no_tensor():
    batch = (UserDict(ids=torch.arange(4), more=[torch.arange(4), "text"]), torch.tensor(7.0), 3)
    (first, _), (second, size) = split(batch, 2)
    assert first[0]["ids"].tolist() == [0, 1] and second[0]["ids"].tolist() == [2, 3]
    assert second[0]["more"][0].tolist() == [2, 3] and second[0]["more"][1] == "text"
    assert second[1:] == (torch.tensor(7.0), 3) and size == 2


@pytest.mark.parametrize("batch", [(), (torch.tensor(1.0),), ("text",), (torch.zeros(4), torch.zeros(5))])
def test_batches_without_one_size_are_refused(batch):
    with pytest.raises(ValueError, match="num_shards=2 needs"):
        split(batch, 2)
