"""How many packs run at once: here, and on a cluster whose nodes come and go."""

import pytest

from hpsearch.errors import InputError
from hpsearch.execution import capacity
from hpsearch.execution.capacity import find_capacity


def node(cpus, gpus=0):
    return {"CPU": float(cpus), "memory": 1e9, **({"GPU": float(gpus)} if gpus else {})}


NODES = [node(4, 2), node(3, 1), node(4), {"memory": 1e9}]


def find(nodes=NODES, cpus=1, gpus=0, concurrent="auto", joined=False):
    return find_capacity(lambda: nodes, cpus, gpus, concurrent, joined, None)


PACKS = [(1, 0, 11), (2, 0, 5), (3, 0, 3), (1, 1, 3), (1, 0.5, 6), (1, 1 / 3, 7), (2, 0.5, 3), (1, 2, 1), (1, 1.5, 1)]


@pytest.mark.parametrize(("cpus", "gpus", "packs"), PACKS)
def test_a_pack_fits_within_one_node(cpus, gpus, packs):
    found = find(cpus=cpus, gpus=gpus)
    assert (found.cpus, found.gpus, found.concurrent) == (cpus, gpus, packs)


def test_auto_gives_a_gpu_where_there_is_one_and_packs_as_cpus_beside_gpus_allow():
    assert find([node(8)], gpus="auto").gpus == 0
    found = find([node(8, 2), node(6, 1), node(64)], gpus="auto")
    assert (found.gpus, found.concurrent, found.offer().gpus, found.packs_per_gpu) == (1, 14, 3, 4)
    assert find([node(8, 2)], gpus="auto", concurrent=4).packs_per_gpu == 2


def test_here_a_number_is_cut_to_what_fits():
    assert find(concurrent=5).concurrent == 5
    assert find(concurrent=50).concurrent == 11


@pytest.mark.parametrize(
    ("nodes", "asked", "message"),
    [
        ([node(4)], {"cpus": 5}, "resources.cpus: a pack asks for 5 CPUs; Ray has 4"),
        ([node(4, 1)], {"gpus": 2}, "resources.gpus: a pack asks for 2 GPUs; Ray has 1"),
        ([node(4)], {"gpus": 0.5}, "resources.gpus: a pack asks for 0.5 GPUs; Ray has 0"),
        ([node(4, 1), node(8)], {"cpus": 8, "gpus": 1}, "resources.gpus: a pack asks for 1 GPUs; Ray has 0"),
        ([{}], {}, "resources.cpus: a pack asks for 1 CPUs; Ray has 0"),
    ],
)
def test_a_pack_that_fits_on_no_node_is_refused(nodes, asked, message):
    with pytest.raises(InputError) as told:
        find(nodes, **asked)
    assert str(told.value) == message


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping only."""
    now = [0.0]
    monkeypatch.setattr(capacity.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(capacity.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_auto_follows_the_nodes_of_a_cluster(clock):
    nodes = [node(2)]
    found = find(nodes, joined=True)
    assert found.concurrent == 2
    nodes += [node(4), node(8)]
    assert found.concurrent == 2  # it is not looked at for every pack
    clock[0] += capacity.REFRESH
    assert found.concurrent == 14
    del nodes[0]
    clock[0] += capacity.REFRESH
    assert found.concurrent == 12


def test_a_number_on_a_cluster_is_asked_for_whatever_there_is():
    """What waits for a place is what makes an autoscaler add nodes."""
    found = find([{}], cpus=8, gpus=1, concurrent=20, joined=True)
    assert found.concurrent == 20 and found.gpus == 1 and found.offer().gpus >= 20


def test_the_first_node_of_a_cluster_is_waited_for_and_then_given_up(clock):
    nodes = [{}]

    def look():
        if clock[0] >= 10:
            nodes.append(node(2))
        return nodes

    assert find_capacity(look, 1, 0, "auto", True, None).concurrent >= 2
    assert clock[0] == 10
    with pytest.raises(InputError, match="asks for 9 CPUs; no node of the cluster has more than 2.*concurrent: 8"):
        find(nodes, cpus=9, joined=True)
    assert clock[0] == 10 + capacity.PATIENCE
