"""Named streams, and the global generators swapped in and out."""

import random

import numpy
import pytest
import torch

from hpsearch.streams import GlobalGenerators, generator, stream_seed


def draw():
    return random.random(), float(numpy.random.rand()), float(torch.rand(()))


def test_stream_seeds_are_what_they_were():
    """Runs of long ago are continued with these."""
    assert stream_seed(0, "batch order") == 1899681417712851196
    assert stream_seed(3, "label noise") == 8298552079703967318


def test_seeds_and_names_give_streams_of_their_own():
    keys = [(0,), (1,), (0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", 2), (10, "a"), (2**62, "a")]
    seeds = [stream_seed(*key) for key in keys]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    first, again, other = (torch.rand(4, generator=generator(0, name)) for name in ("x", "x", "y"))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_generators_keep_their_place_between_blocks_and_outside_is_left_alone():
    alone = GlobalGenerators(1)
    with alone.swapped():
        expected = [draw() for _ in range(4)]
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    outside = [draw() for _ in range(3)]

    first, second, found = GlobalGenerators(1), GlobalGenerators(2), []
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    for index in range(3):
        with first.swapped():
            found.append(draw())
        with second.swapped():
            assert draw() not in expected
        assert draw() == outside[index]
    assert found == expected[:3]


def test_an_exception_restores_the_outside_too():
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    expected = draw()
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    with pytest.raises(KeyError), GlobalGenerators(1).swapped():
        draw()
        raise KeyError
    assert draw() == expected
