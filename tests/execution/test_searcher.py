"""Packs out, results in: what is tried again, with which share of a GPU, and what is written."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch
from ray.tune.search import Searcher

from hpsearch.checkpoints import checkpoint_of
from hpsearch.execution.capacity import Capacity, Offer
from hpsearch.execution.exchange import Exchange
from hpsearch.execution.searcher import NODES, PackSearcher
from hpsearch.execution.shares import CONTEXT, HEADROOM, Shares
from hpsearch.planning import Bundle, Configuration, Pack
from hpsearch.planning.pack import Member
from hpsearch.results import Result
from hpsearch.study import parse_study

GIB = 2**30
STUDY = parse_study("""
name: s
task: {name: digits}
arms: {a: {fixed: {rho: 0.1}}, b: {fixed: {rho: 0.2}}}
sampling: [{sampler: random, configurations: 1}]
seeds: 3
objectives: {val_accuracy: maximize}
resources: {retries: 2}
""")


class Packs:
    """A planner with a list of packs and bundles."""

    def __init__(self, *planned):
        self.left, self.told, self.refused = list(planned), [], []
        packs = [pack for each in planned for pack in (each.packs if isinstance(each, Bundle) else [each])]
        self.open = {trial_id for pack in packs for trial_id in pack.seeds.values()}

    @property
    def finished(self):
        return not self.open

    def next(self):
        return self.left.pop(0) if self.left else None

    def tell(self, result):
        self.told.append(result)
        self.open.remove(result.trial_id)

    def refuse(self, bundle):
        self.refused.append(bundle.key)


def pack(name="1", arm="a", seeds=(0, 1, 2), attempt=1):
    sampling = {"phase": 0, "index": 0, "sampler": "random", "generation": None, "confirm": False}
    ids = {seed: f"{name}-{seed}" for seed in seeds}
    return Pack(Configuration(arm, {}, name, sampling), ids, dict.fromkeys(ids.values(), attempt))


def bundle(*packs, done=()):
    """done: seeds of the first pack whose results are there."""
    members = tuple(
        Member({"rho": rho}, seed, trial_id) for rho, pack in enumerate(packs) for seed, trial_id in pack.seeds.items()
    )
    first = {seed: trial_id for seed, trial_id in packs[0].seeds.items() if seed not in done}
    return Bundle((replace(packs[0], seeds=first), *packs[1:]), members)


class Desk:
    """The searcher with what surrounds it; trials are what Tune calls packs."""

    def __init__(self, tmp_path, *packs, gpus=0.0, auto=False, most=1, retries=2):
        self.planner, self.rows = Packs(*packs), []
        capacity = Capacity(1, gpus and 1.0, lambda: Offer(4, gpus))
        checked = SimpleNamespace(study=STUDY, identity=SimpleNamespace(function=False))
        self.shares = Shares(gpus and 1.0, auto, most)
        exchange = Exchange(checked, capacity, tmp_path, tmp_path / "run")
        self.searcher = PackSearcher(
            self.planner, exchange, self.shares, None, self.rows.extend, capacity.offer, retries, deadline=None
        )

    def order(self, trial="t"):
        given = self.searcher.suggest(trial)
        return given if given in (None, Searcher.FINISHED) else {**json.loads(given["order"]), "gpus": given["gpus"]}

    def end(self, *reports, trial="t"):
        self.searcher.on_trial_complete(trial, {"reports": json.dumps(reports), "pack": 0})

    def written(self):
        return [(row.trial_id, row.status, row.attempt) for row in self.rows]


def report(seed, status="complete", oom=False, peak=None, memory=None):
    outcome = {
        "status": status, "epochs": 1, "epochs_planned": 1, "curve": {}, "out_of_memory": oom,
        "metrics": {} if status == "failed" else {"val_accuracy": 0.5},
        "cost": {"backward_samples": 1, "flops": 1.0, "seconds": 1.0, "peak_memory_bytes": peak},
        "error": "the reason" if status == "failed" else None,
    }  # fmt: skip
    place = {"host": "h", "device": "GPU" if memory else "cpu", "device_memory": memory, "threads": 1, "engine": {}}
    return {"seed": seed, "outcome": outcome, "started": "2026-01-01T00:00:00.000+00:00", "torch": "2", **place}


def test_a_pack_that_its_node_took_along_is_given_again_and_no_retry_is_counted(tmp_path):
    desk = Desk(tmp_path, pack(seeds=(0,)), retries=1)
    for _ in range(5):
        assert desk.order()["seeds"] == [0]
        desk.searcher.node_died("t")
        desk.searcher.on_trial_complete("t", error=True)
    for _ in range(2):  # its own deaths are counted, and then it is given up
        assert desk.order()["seeds"] == [0]
        desk.searcher.on_trial_complete("t", error=True)
    assert desk.written() == [("1-0", "failed", 7)]


def test_a_pack_that_takes_every_node_along_is_given_up(tmp_path):
    desk = Desk(tmp_path, pack(seeds=(0,)), retries=1)
    given = 0
    while desk.order() != Searcher.FINISHED:
        given += 1
        desk.searcher.node_died("t")
        desk.searcher.on_trial_complete("t", error=True)
    assert given == NODES + 2 and desk.rows[-1].status == "failed"


def test_no_more_packs_are_given_than_there_is_room_for(tmp_path):
    desk = Desk(tmp_path, *(pack(str(number)) for number in range(9)))
    assert [desk.order(trial) is None for trial in "abcdef"] == [False] * 4 + [True] * 2
    assert list(desk.searcher.given()) == ["a", "b", "c", "d"]


def test_another_torch_on_a_node_is_told_once(tmp_path):
    exchange = Exchange(SimpleNamespace(study=STUDY), Capacity(1, 0.0, lambda: Offer(4, 0.0)), tmp_path, tmp_path)
    for seed, version in enumerate([str(torch.__version__), "1.0", "1.0"]):
        exchange.result(pack(), {**report(seed), "torch": version}, 1, None)
    assert [note.split(", here is")[0] for note in exchange.notes] == ["h has torch 1.0"]


@pytest.mark.parametrize("jump", [-1e6, 0.0, 1e6], ids=["back", "none", "forward"])
def test_a_clock_that_is_set_while_a_pack_trains_is_not_taken_for_waiting(tmp_path, jump):
    exchange = Exchange(SimpleNamespace(study=STUDY), Capacity(1, 0.0, lambda: Offer(4, 0.0)), tmp_path, tmp_path)
    given, clock = time.time() - 5, time.monotonic() - 5
    started = datetime.fromtimestamp(given + 2 + jump, UTC).isoformat()
    row = exchange.result(pack(), {**report(0), "started": started}, 1, (given, clock))
    assert row.started == started
    low, high = {-1e6: (0, 0), 0.0: (1.99, 2.01), 1e6: (5, 60)}[jump]
    assert low <= row.seconds_waiting <= high


def test_what_raised_is_tried_again_when_its_pack_has_ended_and_given_up_after_the_retries(tmp_path):
    desk = Desk(tmp_path, pack())
    assert desk.order()["seeds"] == [0, 1, 2]
    desk.searcher.on_trial_result("t", {"reports": json.dumps([report(0), report(1, "failed")])})
    assert desk.order("other") is None  # not while its pack runs
    desk.end(report(2))
    assert desk.written() == [("1-0", "complete", 1), ("1-2", "complete", 1)]
    for _ in range(2):
        assert desk.order()["seeds"] == [1]
        desk.end(report(1, "failed"))
    assert desk.written()[2:] == [("1-1", "failed", 3)] and desk.rows[-1].error == "the reason"
    assert desk.order() == Searcher.FINISHED
    assert [row.trial_id for row in desk.planner.told] == ["1-0", "1-2", "1-1"]


def test_a_retry_that_works_is_a_result(tmp_path):
    desk = Desk(tmp_path, pack(attempt=4))  # three failures in earlier runs
    desk.order()
    desk.end(report(0), report(1, "failed"), report(2))
    desk.order()
    desk.end(report(1))
    assert desk.written()[-1] == ("1-1", "complete", 5)


def test_a_report_that_is_shown_twice_counts_once(tmp_path):
    desk = Desk(tmp_path, pack(), retries=0)
    desk.order()
    for _ in range(2):
        desk.searcher.on_trial_result("t", {"reports": json.dumps([report(0), report(1, "failed")])})
    desk.end(report(0), report(1, "failed"))
    assert desk.written() == [("1-0", "complete", 1), ("1-1", "failed", 1)]


@pytest.mark.parametrize("retries", [0, 2])
def test_a_lost_worker_loses_only_what_it_had_not_reported(tmp_path, retries):
    desk = Desk(tmp_path, pack(), retries=retries)
    for _ in range(retries + 1):
        seeds = desk.order()["seeds"]
        if len(seeds) == 3:
            desk.searcher.on_trial_result("t", {"reports": json.dumps([report(0)])})
        desk.searcher.on_trial_complete("t", error=True)
    assert desk.order() == Searcher.FINISHED
    assert desk.written() == [("1-0", "complete", 1), *((f"1-{s}", "failed", retries + 1) for s in (1, 2))]
    assert ("died 3 times" if retries else "died once") in desk.rows[-1].error


def test_a_full_disk_ends_the_run_and_nothing_more_is_told(tmp_path):
    desk = Desk(tmp_path, pack(), pack("2"))
    desk.order()

    def refuse(rows):
        raise OSError("no space")

    desk.searcher._record = refuse
    desk.end(report(0), report(1), report(2))
    assert isinstance(desk.searcher.failure, OSError) and desk.planner.told == []
    assert desk.order() == Searcher.FINISHED


def test_each_arm_gets_a_share_by_the_memory_of_its_first_trials(tmp_path):
    desk = Desk(tmp_path, pack("1", "a"), pack("2", "b"), pack("3", "a"), pack("4", "a"), gpus=1.0, auto=True, most=8)
    assert desk.order("t1")["gpus"] == 1.0
    assert desk.order("t2") is None  # the GPU is taken
    peak = int((80 * GIB / 4.5 - CONTEXT) / HEADROOM)  # four and a half would fit
    desk.end(*(report(seed, peak=peak, memory=80 * GIB) for seed in (0, 1, 2)), trial="t1")
    assert desk.order("t2")["gpus"] == 1.0  # of arm b nothing is known
    desk.end(*(report(seed, peak=GIB, memory=80 * GIB) for seed in (0, 1, 2)), trial="t2")
    assert [desk.order("t3")["gpus"], desk.order("t4")["gpus"]] == [0.25, 0.25]
    assert desk.shares.of("b") == pytest.approx(1 / 8)  # CPUs for no more


def test_too_little_memory_is_answered_with_a_larger_share_and_costs_no_retry(tmp_path):
    desk = Desk(tmp_path, pack("0"), pack("1"), pack("2"), gpus=1.0, auto=True, most=4, retries=0)
    desk.order()
    desk.end(*(report(seed, peak=GIB, memory=80 * GIB) for seed in (0, 1, 2)))
    shares = []
    while (given := desk.order()) != Searcher.FINISHED:
        shares.append(given["gpus"])
        fits = given["gpus"] > 0.5
        desk.end(*(report(seed, "complete" if fits else "failed", oom=not fits) for seed in given["seeds"]))
    assert shares == [0.25, 0.5, 1.0, 1.0]  # the next pack begins with what was learnt
    assert {status for _, status, _ in desk.written()} == {"complete"}
    assert desk.written()[3:] == [("1-0", "complete", 3), ("1-1", "complete", 3), ("1-2", "complete", 3),
                                  ("2-0", "complete", 1), ("2-1", "complete", 1), ("2-2", "complete", 1)]  # fmt: skip
    assert len(desk.shares.notes) == 2 and "a: 0.25 of a GPU was too little memory" in desk.shares.notes[0]


def test_a_whole_gpu_that_is_too_small_is_a_failure(tmp_path):
    desk = Desk(tmp_path, pack(seeds=(0,)), gpus=1.0, auto=True, retries=1)
    for _ in range(2):
        desk.order()
        desk.end(report(0, "failed", oom=True))
    assert desk.written() == [("1-0", "failed", 2)] and desk.order() == Searcher.FINISHED


# Bundles --------------------------------------------------------------------------------------------------------------


def of_bundle(count, **more):
    return [{**report(place % 3, **more), "place": place} for place in range(count)]


def test_a_bundle_is_an_order_of_all_its_trials_and_ends_in_a_row_for_each(tmp_path):
    desk = Desk(tmp_path, bundle(pack("1"), pack("2")))
    order = desk.order()
    assert [seed for _, seed in order["bundle"]] == [0, 1, 2, 0, 1, 2] and not order["seeds"]
    assert order["checkpoint"] == str(checkpoint_of(tmp_path / "run", bundle(pack("1"), pack("2")).key))
    (seen,) = desk.searcher.training()
    assert (seen.arm, seen.seeds, seen.configurations) == ("a", (0, 1, 2), 2)
    desk.end(*of_bundle(6))
    assert desk.written() == [(f"{name}-{seed}", "complete", 1) for name in "12" for seed in range(3)]
    assert {row.configuration_id for row in desk.rows} == {"1", "2"}
    assert {(row.bundle["trials"], row.bundle["together"]) for row in desk.rows} == {(6, True)}
    assert desk.order() == Searcher.FINISHED


def test_of_a_bundle_that_was_half_written_only_what_is_missing_is_kept(tmp_path):
    desk = Desk(tmp_path, bundle(pack("1"), pack("2"), done=(0, 2)))
    assert len(desk.order()["bundle"]) == 6
    desk.end(*of_bundle(6))
    assert [trial_id for trial_id, *_ in desk.written()] == ["1-1", "2-0", "2-1", "2-2"]
    assert {row.bundle["trials"] for row in desk.rows} == {6}


@pytest.mark.parametrize("raised", [False, True])
def test_a_bundle_that_is_refused_is_given_pack_by_pack(tmp_path, raised):
    """The planner knows of those that would be slower, or cannot be; one that raised says nothing of others."""
    whole = bundle(pack("1"), pack("2"), done=(0,))
    desk = Desk(tmp_path, whole)
    desk.order()
    desk.searcher.on_trial_complete("t", {"reports": "[]", "pack": 0, "refused": "slower", "raised": raised})
    assert desk.planner.refused == ([] if raised else [whole.key])
    assert desk.order()["seeds"] == [1, 2]
    desk.end(report(1), report(2))
    assert desk.order()["seeds"] == [0, 1, 2]
    desk.end(report(0), report(1), report(2))
    assert desk.order() == Searcher.FINISHED
    assert {(row.bundle["trials"], row.bundle["together"]) for row in desk.rows} == {(6, False)}
    assert {attempt for *_, attempt in desk.written()} == {1}


@pytest.mark.parametrize("pack_key, raised, told", [("auto", False, 0), ("auto", True, 1), (6, False, 1)])
def test_why_a_bundle_is_refused_is_told_once_where_it_is_not_autos_own_choice(tmp_path, pack_key, raised, told):
    resources = STUDY.resources.model_copy(update={"pack": pack_key})
    checked = SimpleNamespace(study=STUDY.model_copy(update={"resources": resources}))
    exchange = Exchange(checked, Capacity(1, 0.0, lambda: Offer(4, 0.0)), tmp_path, tmp_path)
    for _ in range(2):
        exchange.note_refusal("a", "the reason", raised)
    assert len(exchange.notes) == told and all("the reason" in note for note in exchange.notes)


def test_a_bundle_of_one_configuration_shows_its_parameters(tmp_path):
    desk = Desk(tmp_path, bundle(replace(pack(), configuration=replace(pack().configuration, params={"rho": 0.5}))))
    desk.order()
    (seen,) = desk.searcher.training()
    assert (seen.params, seen.configurations) == ({"rho": 0.5}, 1)


@pytest.mark.parametrize("retries", [0, 2])
def test_a_bundle_whose_worker_dies_is_given_whole_again_and_after_the_retries_pack_by_pack(tmp_path, retries):
    desk = Desk(tmp_path, bundle(pack("1"), pack("2")), retries=retries)
    desk.order()
    for _ in range(3):  # what a node took along is not counted
        desk.searcher.node_died("t")
        desk.searcher.on_trial_complete("t", error=True)
        assert len(desk.order()["bundle"]) == 6
    for again in (*[6] * retries, 0):
        desk.searcher.on_trial_complete("t", error=True)
        assert len(desk.order()["bundle"]) == again
    for _ in range(retries + 1):  # the first pack is the reason
        desk.searcher.on_trial_complete("t", error=True)
        desk.order()
    desk.end(report(0), report(1), report(2))
    assert desk.written() == [
        *((f"1-{seed}", "failed", 1 + retries) for seed in range(3)),
        *((f"2-{seed}", "complete", 1) for seed in range(3)),
    ]


def test_a_row_that_was_stopped_names_the_rule():
    sampling = pack().configuration.sampling
    row = Result("t", "c", "a", {}, {}, 0, sampling, "stopped", stopping={"scheduler": "median"})
    assert row.done and Result.from_line(row.to_line()) == row
