"""Which trials one program trains: by the plan alone, whatever has been killed when."""

import random
from dataclasses import replace

import pytest

from hpsearch.planning import Bundle, Planner, bundle_size, total_trials
from hpsearch.results import Result
from hpsearch.study import Bundles, Recorded
from tests.planning.harness import checked_of, result_of, run

ARMS = {
    "sam": "{parameters: {rho: {low: 0.01, high: 0.6}, epochs: {choices: [1, 2]}}}",
    "msam": "{fixed: {rho: 0.1}, parameters: {num_shards: {choices: [1, 2, 4]}, lr: {low: 0.01, high: 0.1}}}",
    "zero": "{parameters: {rho: {choices: [0.0, 0.1]}, sigma: {choices: [0.0, 1.0]}}, sampling: [{sampler: grid}]}",
}
SAMPLING = "[{sampler: qmc, configurations: 5}, {sampler: random, configurations: 6}]"


def checked(names=tuple(ARMS), sampling=SAMPLING, seeds="3", confirm="{top: 2, seeds: 3}", pack="7", **more):
    arms = "{" + ", ".join(f"{name}: {ARMS[name]}" for name in names) + "}"
    return checked_of(arms, sampling, seeds, confirm, resources=f"{{pack: {pack}}}", **more)


def results_of(planned):
    """What is missing, with a value that tells which trials were beside it; in the order of the members."""
    if not isinstance(planned, Bundle):
        rows = (result_of(planned, seed) for seed in planned.seeds)
        return [Result(**{**vars(row), "bundle": planned.bundle}) for row in rows]
    found = {trial: (pack, seed) for pack in planned.packs for seed, trial in pack.seeds.items()}
    results = []
    for member in planned.members:
        if member.trial_id in found:
            row = vars(result_of(*found[member.trial_id]))
            row["metrics"] = {"val_accuracy": row["metrics"]["val_accuracy"] + int(planned.key, 16) % 1000 * 1e-9}
            results.append(Result(**{**row, "bundle": planned.recorded(together=True)}))
    return results


def train(checked, known=(), at_once=1, draw=None, lines=None, refuses=lambda bundle: False, by_kind=False):
    """Rows of a run that is killed when so many lines are written, perhaps within a bundle; and what was given.

    refuses: bundles that are given to be trained pack by pack; by_kind: since that takes less time.
    """
    size = bundle_size(checked, None)
    planner, running, rows, given = Planner(checked, known, bundles=size), [], [], []
    while lines is None or len(rows) < lines:
        while len(running) < at_once and (planned := planner.next()) is not None:
            running.append(planned)
            given.append(planned)
        if not running:
            assert planner.finished
            break
        planned = running.pop(draw.randrange(len(running)) if draw else 0)
        if isinstance(planned, Bundle) and refuses(planned):
            if by_kind:
                planner.refuse(planned)
            running += planned.one_by_one()
            continue
        for row in results_of(planned):
            rows.append(row)
            planner.tell(row)
    return rows[:lines], given


def table(rows):
    return {row.trial_id: (row.metrics["val_accuracy"], row.sampling["confirm"]) for row in rows}


def bundles(given):
    return [planned for planned in given if isinstance(planned, Bundle)]


def test_trials_of_a_bundle_have_one_shape_and_are_of_one_arm():
    study = checked()
    rows, given = train(study)
    assert set(table(rows)) == {row.trial_id for row in run(study)[0]}  # the same trials as without
    for bundle in bundles(given):
        arm = bundle.packs[0].configuration.arm
        assert {pack.configuration.arm for pack in bundle.packs} == {arm}
        assert len({study.study.settings(arm, member.params).shape() for member in bundle.members}) == 1
        assert 2 <= len(bundle.members) <= 9  # a configuration's seeds stay together
    assert len(given) < len({row.configuration_id for row in rows})


@pytest.mark.parametrize(
    "given, sizes",
    [
        # 11 configurations with 3 seeds, full with 7: bundles of 9, and what is left.
        ({"names": ["sam"]}, {9: 33, 6: 6}),
        ({"names": ["msam"]}, {9: 11, 6: 6, 3: 11}),
        ({"names": ["sam"], "stopping": "{scheduler: asha}"}, {3: 33}),
        ({"names": ["sam"], "sampling": "[{sampler: tpe, configurations: 4}]"}, {3: 12}),
    ],
    ids=["one shape", "three shapes", "may be stopped", "adaptive"],
)
def test_it_is_told_how_many_trials_bundles_of_its_kind_have(given, sizes):
    found = bundles(train(checked(confirm="null", **given))[1])
    assert {len(bundle.members): bundle.alike for bundle in found}.items() <= sizes.items()
    assert max(len(bundle.members) for bundle in found) == max(sizes)


@pytest.mark.parametrize("number", range(12))
def test_whatever_is_killed_whenever_each_trial_had_the_same_trials_beside_it(number):
    draw = random.Random(number)
    study = checked(draw.sample(sorted(ARMS), draw.randint(1, 3)), pack=draw.choice(["auto", "2", "5", "11"]))
    straight, _ = train(study)
    rows = []
    while True:
        new, given = train(study, rows, draw.randint(1, 4), draw, draw.choice([1, 2, 5, 9, 30]))
        assert not {row.trial_id for row in new} & {row.trial_id for row in rows}
        rows += new
        if not given:
            break
    assert table(rows) == table(straight)


def test_a_bundle_that_is_half_written_is_trained_whole_and_only_what_is_missing_counts():
    study = checked(["sam"], confirm="null")
    rows, given = train(study, lines=3)
    (again, *_) = train(study, rows)[1]
    assert again.members == given[0].members and again.key == given[0].key
    left = [trial for pack in again.packs for trial in pack.seeds.values()]
    assert left == [member.trial_id for member in again.members[3:]]


def test_what_is_added_to_a_study_trains_nothing_again():
    before = train(checked(["sam"], "[{sampler: qmc, configurations: 4}]", "2"))[0]
    for more in (
        checked(["sam"], "[{sampler: qmc, configurations: 4}]", "3"),
        checked(["sam"], "[{sampler: qmc, configurations: 9}]", "2"),
        checked(["sam"], "[{sampler: qmc, configurations: 9}]", "5", pack="auto"),
    ):
        rows, given = train(more, before)
        members = {member.trial_id for bundle in bundles(given) for member in bundle.members}
        assert rows and not members & set(table(before))


def test_a_half_whose_bundle_is_no_longer_planned_is_done():
    rows, _ = train(checked(["sam"], confirm="null"), lines=3)
    given = train(checked(["sam"], confirm="null", pack="4"), rows)[1]
    assert not {member.trial_id for bundle in bundles(given) for member in bundle.members} & set(table(rows))


def test_where_there_are_none():
    given = train(checked(pack="1"))[1]
    assert given and not bundles(given)


def test_what_may_be_stopped_has_a_bundle_of_each_configurations_seeds():
    rows, given = train(checked(["sam"], confirm="{top: 2, seeds: 4}", stopping="{scheduler: median}"))
    *phase, confirmed = bundles(given)
    assert len(phase) > 2 and confirmed.packs[0].configuration.sampling["confirm"]
    assert all(len({str(member.params) for member in bundle.members}) == 1 for bundle in phase)
    assert len({str(member.params) for member in confirmed.members}) == 2
    alone, _ = train(checked(["sam"], confirm="{top: 2, seeds: 4}", stopping="{scheduler: median}", pack="1"))
    assert {row.trial_id for row in rows} == {row.trial_id for row in alone}


ADAPTS = "[{sampler: random, configurations: 4}, {sampler: tpe, configurations: 5}]"


def test_what_adapts_has_a_bundle_of_each_configurations_seeds():
    rows, given = train(checked(["sam"], ADAPTS, confirm="null"))
    assert [len(planned.members) for planned in given[-5:]] == [3] * 5
    assert all(len({str(member.params) for member in planned.members}) == 1 for planned in given[-5:])
    assert {row.sampling["sampler"] for row in rows if row.bundle} == {"random", "tpe"}
    alone, _ = train(checked(["sam"], ADAPTS, confirm="null", pack="1"))
    assert len(rows) == len(alone)


@pytest.mark.parametrize("number", range(8))
def test_what_adapts_goes_on_after_whatever_is_killed(number):
    draw = random.Random(number)
    study = checked(["sam", "msam"], ADAPTS, confirm="null", pack=draw.choice(["2", "7"]))

    def refuses(bundle):  # by what is known of its trials, as a timing does
        return sum(study.study.settings("sam", member.params).epochs for member in bundle.members) % 2 == 1

    straight, _ = train(study, refuses=refuses, by_kind=True)
    rows = []
    while True:
        new, given = train(study, rows, lines=draw.choice([1, 2, 4, 7]), refuses=refuses, by_kind=True)
        assert not {row.trial_id for row in new} & {row.trial_id for row in rows}
        rows += new
        if not given:
            break
    assert table(rows) == table(straight)


def test_what_is_like_a_bundle_that_was_refused_is_given_pack_by_pack():
    asked = []

    def refuses(bundle):
        asked.append(bundle)
        return True

    study = checked(["sam"], ADAPTS, confirm="null")
    rows, _ = train(study, refuses=refuses, by_kind=True)
    kinds = [(len(b.members), sum(study.study.settings("sam", m.params).epochs for m in b.members)) for b in asked]
    assert len(kinds) == len(set(kinds)) < 8
    assert not any(row.bundle["together"] for row in rows if row.bundle) and all(row.bundle for row in rows)


@pytest.mark.parametrize(
    "places, more, size",
    [
        (1, {}, 24),
        (4, {}, 111 // 16),  # 3 x 37 trials, four bundles for each place
        (64, {}, 1),  # no place is left idle for a bundle's sake
        (4, {"resources": "{pack: auto, concurrent: 2}"}, 111 // 16),  # the table does not hang on it
        (64, {"resources": "{pack: 9}"}, 9),
        (1, {"resources": "{pack: 1}"}, 1),
        (1, {"stopping": "{scheduler: median}"}, 24),
    ],
)
def test_how_large_a_bundle_is(monkeypatch, places, more, size):
    monkeypatch.setattr("hpsearch.planning.bundles.os.cpu_count", lambda: places)
    study = checked_of("{sam: " + ARMS["sam"] + "}", "[{sampler: random, configurations: 37}]", "3", **more)
    assert bundle_size(study, None) == size


@pytest.mark.parametrize("cost, size", [("seconds", 1), ("peak_memory_bytes", 1), ("flops", 7)])
def test_what_is_not_a_trials_own_in_a_bundle_is_no_objective_of_one(cost, size):
    study = checked(["sam"])
    objectives = {**study.study.objectives, cost: "minimize"}
    assert bundle_size(replace(study, study=study.study.model_copy(update={"objectives": objectives})), None) == size


def test_a_folder_keeps_the_size_that_it_was_begun_with(monkeypatch):
    study = checked(["sam"], pack="auto", seeds="9")
    monkeypatch.setattr("hpsearch.planning.bundles.os.cpu_count", lambda: 1)
    begun = bundle_size(study, None)
    recorded = Recorded(versions={}, bundles=Bundles(size=begun, trials=total_trials(study.study)))
    before = study.study.model_copy(update={"recorded": recorded})
    monkeypatch.setattr("hpsearch.planning.bundles.os.cpu_count", lambda: 64)
    assert bundle_size(study, None) < bundle_size(study, before) == begun
    assert bundle_size(checked(["sam"], pack="5"), before) == 5
    more = checked(["sam"], pack="auto", seeds="10")  # what is added may be bundled as a new study is
    assert bundle_size(more, before) == bundle_size(more, None) != begun
    assert bundle_size(study, None, joined=True) == 1


@pytest.mark.parametrize("number", range(12))
def test_a_bundle_that_was_refused_stays_as_it_was_planned(number):
    """What is left of it would be another bundle, which may not be refused."""
    draw = random.Random(100 + number)
    study = checked(["sam", "msam"], pack="7")
    chance = random.Random(number).random()
    refuses = lambda bundle: len(bundle.members) > 6 and random.Random(bundle.key).random() < chance  # noqa: E731
    straight, _ = train(study, refuses=refuses)
    rows = []
    while True:
        new, given = train(study, rows, draw.randint(1, 3), draw, draw.choice([1, 2, 5, 9]), refuses)
        rows += new
        if not given:
            break
    assert table(rows) == table(straight)
    assert {row.trial_id: row.bundle for row in rows} == {row.trial_id: row.bundle for row in straight}


@pytest.mark.parametrize("number", range(30))
def test_halves_of_plans_that_have_changed_do_not_move_what_is_planned_now(number):
    """Killed in a bundle, changed, and killed in a bundle again: as if only the last kill had not been."""
    draw, rows = random.Random(200 + number), []
    for _ in range(draw.randint(1, 3)):
        sampling = f"[{{sampler: qmc, configurations: {draw.randint(3, 9)}}}]"
        study = checked(["sam"], sampling, str(draw.randint(1, 3)), "null", draw.choice("357"))
        before = list(rows)
        rows += train(study, rows, draw.randint(1, 2), draw, draw.randint(1, 12))[0]
    expected = table(before + train(study, before)[0])
    while True:
        new, given = train(study, rows, draw.randint(1, 2), draw, draw.randint(1, 12))
        assert not set(table(new)) & set(table(rows))
        rows += new
        if not given:
            break
    assert table(rows) == expected
