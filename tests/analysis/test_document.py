"""analysis.json: the schema, bytes that repeat, tables at the edge of what can be analysed."""

import json
import math
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from analysed import STUDY, analysis, table
from jsonschema import Draft202012Validator
from synthetic import small_table, trial

from hpsearch.analysis import Options, analyze
from hpsearch.analysis.answer import Answer
from hpsearch.analysis.document import to_document, to_json, write_document
from hpsearch.analysis.document_values import Methods, clean
from hpsearch.analysis.findings import findings, warnings
from hpsearch.errors import InputError, RunError

SCHEMA = json.loads(files("hpsearch.analysis").joinpath("schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def checked(found, study=None):
    """The document as a reader gets it, valid by the schema."""
    data = to_json(to_document(found, study))
    document = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in VALIDATOR.iter_errors(document)]
    assert not errors, errors[:5]
    return document


@pytest.fixture(scope="module")
def document():
    return checked(analysis(), STUDY)


def objects(node, path=()):
    """Every object of a schema that has properties."""
    if isinstance(node, dict):
        if "properties" in node:
            yield path, node
        for key, value in node.items():
            yield from objects(value, (*path, key))


def dicts(node):
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from dicts(value)


def test_the_schema_describes_every_key_and_allows_no_other():
    Draft202012Validator.check_schema(SCHEMA)
    found = list(objects(SCHEMA))
    assert len(found) > 50
    for path, node in found:
        assert node["additionalProperties"] is False, path
        assert sorted(node["required"]) == sorted(node["properties"]), path
        for name, value in node["properties"].items():
            assert value.get("description"), (path, name)


def test_the_schema_refuses_what_is_missing_unknown_or_of_another_type(document):
    for change in ({"version": 1}, {"more": 1}, {"guessed": "no"}):
        assert not VALIDATOR.is_valid(document | change)
    assert not VALIDATOR.is_valid({k: v for k, v in document.items() if k != "arms"})


def test_every_number_names_a_method_that_is_there_and_none_is_unused(document):
    named = {d["method"] for d in dicts(document) if isinstance(d.get("method"), str)}
    assert named == set(document["methods"])
    assert len({tuple(m.values()) for m in document["methods"].values()}) == len(document["methods"])


def test_an_answer_has_an_interval_or_says_why_not(document):
    found = [d for d in dicts(document) if "why_no_interval" in d and "value" in d]
    assert len(found) > 40
    for one in found:
        assert (one["why_no_interval"] is None) == (one["low"] is not None and one["high"] is not None), one
    assert any(d["why_no_interval"] for d in found) and not all(d["why_no_interval"] for d in found)


def test_the_numbers_are_those_of_the_analysis(document):
    found = analysis()
    sam = document["arms"][1]
    assert [arm["arm"] for arm in document["arms"]] == ["sgd", "sam"]
    own = found.answers.arms[1]
    item = own.importances.items[0]
    shown = sam["answers"]["importances"]["hyperparameters"][0]
    assert shown["parameter"] == item.parameter == "rho"
    assert shown["total"]["value"] == pytest.approx(item.total.value, rel=1e-11)
    assert shown["total"]["n"] == len(own.model.rows) == 24
    assert sam["searched"][0] | {"grid": []} == {
        "parameter": "rho", "scale": "log", "low": 0.01, "high": 2.0, "choices": [], "grid": [], "whole_numbers": False,
    }  # fmt: skip
    assert document["differences"][0]["difference"]["value"] == pytest.approx(found.differences[0].estimate.mean)
    assert document["options"] == {"epsilon": None, "factor": 2.0, "seed": 0, "level": 0.95}
    assert sum(arm["trials"] for arm in document["overview"]["arms"]) == document["overview"]["trials"] == len(table())
    assert [s["text"] for s in document["findings"]] == [s.text for s in findings(found)]
    (pair,) = sam["answers"]["pair_maps"]
    assert np.shape(pair["mean"]) == (len(pair["x_values"]), len(pair["y_values"]))
    assert pair["x"] == "rho" and 0.01 < pair["x_values"][0] < pair["x_values"][-1] < 2.0
    assert {row["arm"] for row in document["calibration"]} <= {"sgd", "sam"}
    moments = document["along_training"][1]["moments"]
    assert [m["fraction"] for m in moments] == [0.1, 0.25, 0.5, 1.0]


def test_a_configuration_is_one_entry_without_its_trials(document):
    table_ = table()
    selected = table_[~table_["sampling.confirm"]]
    assert len(document["configurations"]) == selected["configuration_id"].nunique()
    first = document["configurations"][0]
    rows = selected[(selected["configuration_id"] == first["configuration_id"]) & (selected["status"] == "complete")]
    assert first["params"] == {"lr": pytest.approx(rows["params.lr"].iloc[0])}
    assert first["mean"] == pytest.approx(rows["metrics.val_accuracy"].mean())
    assert not any("trial_id" in d or "started" in d for d in dicts(document))


def test_the_same_table_study_and_seed_give_the_same_bytes(tmp_path):
    rows = grid(8)
    one = to_json(to_document(analyze(rows.copy(), options=Options(seed=3))))
    assert one != to_json(to_document(analyze(rows, options=Options(seed=4))))
    write_document(tmp_path / "analysis.json", to_document(analyze(rows, options=Options(seed=3))))
    assert (tmp_path / "analysis.json").read_bytes() == one
    assert [path.name for path in tmp_path.iterdir()] == ["analysis.json"]


def test_a_file_that_cannot_be_written_is_an_error_of_the_run(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        write_document(tmp_path / "nowhere" / "analysis.json", {})


def grid(n, seeds=2, missing=None, **more):
    """n configurations of one arm that differ in lr; every `missing`-th one has no metric."""
    return small_table(
        *[
            trial(
                configuration=f"c{i}",
                seed=s,
                value=None if missing and i % missing == 0 else 0.8 + 0.1 * math.sin(i) + 0.001 * s * i,
                lr=0.01 * 1.5**i,
                **more,
            )
            for i in range(n)
            for s in range(seeds)
        ]
    )


def hostile():
    rows = [
        trial(arm='[bold]"</script>\x1b[31m\n', configuration=f"{i}\u202e\\", value=0.5, x=f"{i}\x00") for i in "ab"
    ]
    return small_table(*rows)


EDGES = {
    "no rows": pd.DataFrame(),
    "one configuration": small_table(*[trial(seed=s, value=0.8 + s / 100, lr=0.1) for s in range(3)]),
    "one trial": small_table(trial()),
    "one seed": grid(8, seeds=1),
    "constant metric": grid(9).assign(**{"metrics.val_accuracy": 0.5}),
    "all diverged": grid(9, status="diverged"),
    "all failed": grid(3, status="failed", ),
    "no parameters": small_table(*[trial(configuration=c, seed=s) for c in "ab" for s in range(2)]),
    "a parameter that never varied": grid(8, momentum=0.9),
    "no metric": grid(3).drop(columns=["metrics.val_accuracy", "metrics.test_accuracy"]),
    "some without metric": grid(10, missing=5),
    "infinite": small_table(*[trial(configuration=str(i), value=[0.5, math.inf][i == 3], lr=i + 1) for i in range(4)]),
    "no cost": grid(4).drop(columns="cost.backward_samples"),
    "repeated rows": pd.concat([grid(8)] * 2, ignore_index=True),
    "hostile text": hostile(),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_tables_at_the_edge_give_a_valid_document_and_sentences(name):
    found = analyze(EDGES[name])
    document = checked(found)
    told = [*findings(found), *warnings(found)]
    assert told and all(one.text.isprintable() and "nan" not in one.text.split() for one in told)
    if found.measured:
        assert document["configurations"] and document["best"]
    else:
        assert [one.kind for one in told] == ["nothing"] and document["options"] is None


def test_many_hyperparameters_and_a_loss_are_a_valid_document(monkeypatch):
    # Cross-validation and the maps of cells are most of the time.
    monkeypatch.setattr("hpsearch.analysis.whole._surfaces", lambda *arguments: ())
    monkeypatch.setattr("hpsearch.analysis.answers.score_candidates", lambda *arguments: "not scored")
    rng = np.random.default_rng(0)
    rows = [
        trial(configuration=str(i), value=None, **{f"p{k}": float(rng.uniform()) for k in range(20)}) for i in range(9)
    ]
    loss = rng.uniform(1, 3, 9)
    found = analyze(small_table(*rows).assign(**{"metrics.val_loss": loss}))
    document = checked(found)
    assert document["objectives"][0] == {"name": "val_loss", "direction": "minimize", "unit": "val_loss"}
    assert len(document["arms"][0]["searched"]) == 20
    assert 3 <= len(findings(found)) <= 15


def test_an_unknown_direction_is_an_input_error():
    with pytest.raises(InputError, match="maximize or minimize"):
        analyze(grid(2), objectives={"val_accuracy": "up"})


def test_clean_leaves_what_json_can_hold():
    found = clean(
        {"a": np.float64(1 / 3), "b": [math.nan, math.inf, -0.0, np.int64(3)], 4: pd.NA, "c": "\ud800", "d": True}
    )
    assert found == {"a": 0.333333333333, "b": [None, None, 0.0, 3], "4": None, "c": "?", "d": True}
    assert math.copysign(1, found["b"][2]) == 1 and found["d"] is True


def test_methods_are_told_once_and_other_texts_get_another_key():
    methods = Methods()
    assert [methods.key("m", "one"), methods.key("m", "two"), methods.key("other", "one")] == ["m", "m_2", "m"]
    answer = Answer(1.0, math.nan, math.nan, 3, "share", "one", why="too few")
    assert methods.answer("m", answer)["why_no_interval"] == "too few"
    assert methods.answer("m", replace(answer, low=0.0, high=2.0))["why_no_interval"] is None
    assert set(methods.entries()) == {"m", "m_2"}
