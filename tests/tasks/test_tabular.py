"""tabular: tables of every kind as tensors, compared with the table; and what is wrong with a table, told."""

from __future__ import annotations

import gzip
import math

import numpy
import pandas
import pytest
import torch

from hpsearch.hyperparameters import Settings
from hpsearch.tasks.protocol import DataError, OptionError, Task
from hpsearch.tasks.tables.splits import Shares, draw, split_rows
from hpsearch.tasks.tabular import Tabular
from hpsearch.tasks.trial_run import try_task
from hpsearch.training.loop import train

ROWS = 200


@pytest.fixture(scope="module")
def frame():
    draws = numpy.random.default_rng(0)
    age = draws.normal(40.0, 10.0, ROWS)
    city = draws.choice(["Rome", "Oslo", "Lima"], ROWS)
    member = draws.random(ROWS) < 0.5
    score = (age - 40) / 10 + 2 * (city == "Oslo") + member + draws.normal(0, 0.1, ROWS)
    columns = {"age": age, "city": city, "member": member, "fixed": 1.0, "price": 5000 + 1000 * score}
    return pandas.DataFrame({**columns, "label": numpy.where(score > 1, "yes", "no"), "grade": (age // 10).astype(int)})


def written(frame, path, **options):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False, **options)
    return str(path)


def text_file(path, text):
    path.write_text(text)
    return str(path)


@pytest.fixture
def csv(frame, tmp_path):
    return written(frame, tmp_path / "people.csv")


def all_rows(task):
    data = task.data(0)
    return [torch.cat([split[place] for split in (data.train, data.val, data.test)]) for place in (0, 1)]


def same(first, second):
    return all(
        torch.equal(mine, other)
        for name in ("train", "val", "test")
        for mine, other in zip(getattr(first, name), getattr(second, name), strict=True)
    )


def test_every_kind_of_file_gives_the_same_tensors(frame, tmp_path, csv):
    first = Tabular(csv, "label", drop=["price"]).data(0)
    indexed = tmp_path / "indexed.csv"
    frame.to_csv(indexed)  # its row index is a column without a name
    paths = [
        written(frame, tmp_path / "people.parquet"),
        written(frame, tmp_path / "people.tsv", sep="\t"),
        written(frame, tmp_path / "people.CSV.gz", compression="gzip"),
        written(frame, tmp_path / "semicolons.csv", sep=";"),
        written(frame, tmp_path / "excel.csv", encoding="utf-8-sig"),
        written(frame, tmp_path / "excel16.csv", encoding="utf-16"),
        str(indexed),
    ]
    for path in paths:
        assert same(first, Tabular(path, "label", drop=["price"]).data(0)), path


def test_the_inputs_are_the_columns_standardised_and_one_hot(frame, csv):
    task = Tabular(csv, "price", drop=["label", "grade"])
    assert task.inputs == ("age", "city=Lima", "city=Oslo", "city=Rome", "member=False", "member=True")
    data = task.data(0)
    torch.testing.assert_close(data.train[0][:, 0].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.train[0][:, 0].std(correction=0), torch.tensor(1.0))
    inputs, targets = all_rows(task)
    # Rows are told apart by age; the place of each in the table is found by its rank.
    places = torch.tensor(frame["age"]).argsort()[inputs[:, 0].argsort().argsort()].numpy()
    assert sorted(places) == list(range(ROWS))
    cities = [("Lima", "Oslo", "Rome")[place] for place in inputs[:, 1:4].argmax(1)]
    assert cities == frame["city"].iloc[places].tolist() and (inputs[:, 1:4].sum(1) == 1).all()
    assert inputs[:, 5].bool().tolist() == frame["member"].iloc[places].tolist()
    prices = torch.tensor(frame["price"].to_numpy()[places])
    rows = prices[: len(data.train[0])]
    expected = (prices - rows.mean()) / rows.std(correction=0)
    torch.testing.assert_close(targets, expected.float())


def test_splits_are_stratified_disjoint_and_the_same_for_every_seed(frame, csv):
    task = Tabular(csv, "label", drop=["price"], validation=0.25, test=0.1)
    data = task.data(0)
    assert [len(split[0]) for split in (data.train, data.val, data.test)] == [130, 50, 20]
    share = float((frame["label"] == "yes").mean())
    for split in (data.train, data.val, data.test):
        assert abs(float(split[1].sum()) - share * len(split[1])) < 1.5
    assert len({float(age) for age in all_rows(task)[0][:, 0]}) == ROWS
    torch.manual_seed(5)
    assert same(data, Tabular(csv, "label", drop=["price"], validation=0.25, test=0.1).data(3))


def test_a_column_of_splits_is_followed(frame, tmp_path):
    parts = numpy.where(numpy.arange(ROWS) < 150, "train", numpy.where(numpy.arange(ROWS) < 180, "val", "Test "))
    path = written(frame.assign(part=parts), tmp_path / "parts.csv")
    task = Tabular(path, "price", drop=["label"], split="part")
    data = task.data(0)
    assert [len(split[0]) for split in (data.train, data.val, data.test)] == [150, 30, 20]
    assert not any(name.startswith("part") for name in task.inputs)
    ages = torch.tensor(frame["age"])
    expected = (ages - ages[:150].mean()) / ages[:150].std(correction=0)
    torch.testing.assert_close(all_rows(task)[0][:, 0], expected.float())


def test_a_folder_of_files_is_the_column_of_splits(frame, tmp_path):
    parts = ["train"] * 150 + ["validation"] * 30 + ["test"] * 20
    one = written(frame.assign(part=parts), tmp_path / "parts.csv")
    folder = tmp_path / "folder"
    folder.mkdir()
    written(frame[:150], folder / "train.csv")
    written(frame[150:180], folder / "valid.parquet")
    written(frame[180:][frame.columns[::-1]], folder / "test.csv")
    (folder / "notes.txt").write_text("no table")
    first = Tabular(one, "label", drop=["price"], split="part").data(0)
    assert same(first, Tabular(str(folder), "label", drop=["price"]).data(0))


def test_the_part_that_a_folder_lacks_is_drawn_from_the_training_rows(frame, tmp_path):
    written(frame[:150], tmp_path / "train.csv")
    written(frame[150:], tmp_path / "test.csv")
    data = Tabular(str(tmp_path), "label", drop=["price"], validation=0.2).data(0)
    assert [len(split[0]) for split in (data.train, data.val, data.test)] == [120, 30, 50]


def test_subset_cuts_the_training_rows_and_nothing_else(csv):
    whole = Tabular(csv, "label", drop=["price"]).data(0)
    cut = Tabular(csv, "label", drop=["price"], subset=60).data(0)
    assert len(cut.train[0]) == 60 and torch.equal(cut.val[1], whole.val[1]) and torch.equal(cut.test[1], whole.test[1])
    assert abs(float(cut.train[1].float().mean() - whole.train[1].float().mean())) < 1 / 60


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        ("label", None, "classification"),
        ("member", None, "classification"),
        ("grade", None, "classification"),
        ("price", None, "regression"),
        ("grade", "regression", "regression"),
    ],
)
def test_the_kind_is_guessed_or_said(column, kind, expected, csv):
    task = Tabular(csv, column, kind=kind)
    assert task.metrics == (("loss", "accuracy") if expected == "classification" else ("loss", "rmse", "r2"))


def test_classes_of_numbers_are_in_their_order(tmp_path):
    path = written(pandas.DataFrame({"x": numpy.arange(30.0), "y": [2, 10, -1] * 10}), tmp_path / "t.csv")
    task = Tabular(path, "y")
    inputs, targets = all_rows(task)
    assert task.of_kind.prepared.targets.classes == ("-1", "2", "10")
    places = inputs[:, 0].argsort()
    assert targets[places].tolist() == [1, 2, 0] * 10


def test_levels_that_training_lacks_are_zero_in_all(tmp_path):
    frame = pandas.DataFrame({"c": ["a", "b"] * 10 + ["z"] * 4, "y": [0, 1] * 12})
    frame["part"] = ["train"] * 20 + ["val"] * 2 + ["test"] * 2
    data = Tabular(written(frame, tmp_path / "t.csv"), "y", split="part").data(0)
    assert (data.train[0].sum(1) == 1).all() and (data.val[0] == 0).all() and data.val[0].shape == (2, 2)


def test_missing_values_become_the_mean_and_an_input_or_a_level(tmp_path):
    frame = pandas.DataFrame({"x": [1.0, 3.0, numpy.nan, 5.0] * 5, "c": ["a", "b", None, "a"] * 5, "y": [0, 1] * 10})
    frame["part"] = ["train"] * 16 + ["val"] * 2 + ["test"] * 2
    task = Tabular(written(frame, tmp_path / "t.parquet"), "y", split="part", missing="impute")
    assert task.inputs == ("x", "x is missing", "c=a", "c=b", "c is missing")
    first = task.data(0).train[0][:4]
    sd = math.sqrt(8 / 3)
    expected = [[-2 / sd, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 1], [2 / sd, 0, 1, 0, 0]]
    torch.testing.assert_close(first, torch.tensor(expected))


def test_nullable_decimal_and_category_columns_of_parquet(tmp_path):
    from decimal import Decimal

    columns = {
        "whole": pandas.array([1, None, 3, 4] * 5, dtype="Int64"),
        "money": [Decimal("1.5"), Decimal("2.5"), Decimal("0.5"), Decimal("9")] * 5,
        "kind": pandas.Categorical(["a", "b", "a", "b"] * 5),
        "y": ["n", "p"] * 10,
    }
    path = written(pandas.DataFrame(columns), tmp_path / "t.parquet")
    assert Tabular(path, "y", missing="impute").inputs == ("whole", "whole is missing", "money", "kind=a", "kind=b")


def test_numbers_can_be_categories(csv):
    task = Tabular(csv, "label", features=["grade", "age"], categorical=["grade"])
    assert task.inputs[0].startswith("grade=") and task.inputs[-1] == "age"


def test_features_keep_their_order(csv):
    assert Tabular(csv, "price", features=["member", "age"]).inputs == ("member=False", "member=True", "age")


def test_label_noise_is_the_training_rows_alone(csv):
    clean, noisy = Tabular(csv, "label"), Tabular(csv, "label", label_noise=0.25)
    wrong = noisy.data(1).train[1] != clean.data(1).train[1]
    assert int(wrong.sum()) == 30 and torch.equal(noisy.data(1).val[1], clean.data(1).val[1])
    assert not torch.equal(noisy.data(1).train[1], noisy.data(2).train[1])


@pytest.mark.parametrize("options", [{}, {"model": "resmlp", "hidden": [16, 16]}, {"dropout": 0.1}])
@pytest.mark.parametrize("target", ["label", "price"])
def test_it_learns(target, options, csv):
    task = Tabular(csv, target, drop=["price"] if target == "label" else ["label"], **options)
    assert isinstance(task, Task)
    try_task(task)
    settings = Settings.merge({"epochs": 15, "batch_size": 40, "lr": 0.05, "rho": 0.05})
    outcome = train(task, settings, 0)
    assert outcome.status == "complete"
    if target == "label":
        assert outcome.metrics["test_accuracy"] > 0.85
    else:
        assert outcome.metrics["test_r2"] > 0.8
        assert set(outcome.metrics) == set(task.chance(task.data(0)))


def test_regression_scores_against_scikit_learn(frame, csv):
    """rmse in the target's unit and R^2, over parts of a split, as scikit-learn has them for the whole of it."""
    from sklearn.metrics import r2_score, root_mean_squared_error

    task = Tabular(csv, "price", drop=["label"])
    torch.manual_seed(0)
    model = task.model().eval()
    inputs, targets = task.data(0).val
    parts = [(inputs[rows], targets[rows]) for rows in (slice(0, 25), slice(25, None))]
    with torch.no_grad():
        measured = [task.measure(model, *part) for part in parts]
    means = {
        name: sum(float(each[name]) * len(part[0]) for each, part in zip(measured, parts, strict=True)) / len(inputs)
        for name in measured[0]
    }
    found = task.summarize(means)
    with torch.no_grad():
        predicted = model(inputs)[:, 0].double().numpy() * task.of_kind.target_sd
    true = targets.double().numpy() * task.of_kind.target_sd
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, predicted), rel=1e-5)
    assert found["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-5)
    assert 500 < task.of_kind.target_sd < 3000


def test_chance_of_a_regression_is_the_training_mean(csv):
    task = Tabular(csv, "price", drop=["label"])
    data = task.data(0)
    chance = task.chance(data)
    assert chance["train_loss"] == pytest.approx(1.0, abs=1e-5)
    mean = data.train[1].mean()
    assert chance["val_rmse"] == pytest.approx(
        float((data.val[1] - mean).square().mean().sqrt()) * task.of_kind.target_sd
    )
    assert -0.2 < chance["test_r2"] <= 0


def test_ids_follow_the_content_and_not_the_path(frame, tmp_path, csv):
    moved = written(frame, tmp_path / "moved.csv")
    other = written(frame.assign(age=frame["age"] + 1), tmp_path / "other.csv")
    ids = [Tabular.identity({"path": path, "target": "label"}) for path in (csv, moved, other)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0]["target"] == "label" and ids[0]["path"].startswith("sha256:")
    folders = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(frame[:150], tmp_path / name / "train.csv")
        written(frame[150:], tmp_path / name / ("test.csv" if name == "a" else "val.csv"))
        folders.append(Tabular.identity({"path": str(tmp_path / name)})["path"])
    assert folders[0] != folders[1]


def test_a_changed_file_is_read_again(frame, tmp_path, csv):
    first = Tabular(csv, "price", drop=["label"]).data(0)
    written(frame.assign(age=frame["age"] ** 2), tmp_path / "people.csv")
    assert not same(first, Tabular(csv, "price", drop=["label"]).data(0))


def test_a_class_of_one_row_is_trained_on(tmp_path):
    frame = pandas.DataFrame({"x": numpy.arange(41.0), "y": ["a"] * 20 + ["b"] * 20 + ["rare"]})
    data = Tabular(written(frame, tmp_path / "t.csv"), "y").data(0)
    assert 2 in data.train[1] and 2 not in data.val[1] and 2 not in data.test[1]


@pytest.mark.parametrize("count", [1, 7, 50, 99])
def test_systematic_drawing_has_the_exact_count_and_each_classs_share(count):
    classes = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    rows = draw(count, classes, 100, "test")
    assert len(set(rows.tolist())) == count and torch.equal(rows, rows.sort().values)
    for label, size in enumerate((60, 30, 10)):
        assert abs(int((classes[rows] == label).sum()) - count * size / 100) <= 1
    assert len(draw(count, None, 100, "test")) == count


def test_every_row_is_in_one_split():
    given = torch.tensor([0] * 50 + [2] * 10)
    rows = split_rows(given, None, Shares(validation=0.3, subset=None))
    assert sorted(torch.cat(rows).tolist()) == list(range(60)) and rows[2].tolist() == list(range(50, 60))
    assert len(rows[1]) == 15


PLAIN = "a,b,y\n" + "".join(f"{row},{row % 7},{'pq'[row % 2]}\n" for row in range(30))


def lines(**changed):
    """PLAIN with some of its rows, counted from 1, written otherwise."""
    rows = PLAIN.splitlines()
    for name, text in changed.items():
        rows[int(name.removeprefix("row"))] = text
    return "\n".join(rows) + "\n"


WRONG_TABLES = {
    # content of t.csv, options, the parts of the message
    "empty": ("", {}, ["t.csv: is empty"]),
    "header only": ("a,b,y\n", {}, ["t.csv: has no rows"]),
    "long row": (lines(row4="1,2,p,9"), {}, ["t.csv: is not a table", "as many cells"]),
    "long rows": ("a,y\n1,2,3\n4,5,6\n", {}, ["t.csv: is not a table: its rows have more cells than its header"]),
    "binary": ("a,y\n\0\0\0", {}, ["t.csv: holds binary data"]),
    "twice": ("a,a,y\n1,2,3\n", {}, ["column 'a' is there twice"]),
    "no target": (PLAIN, {"target": "z"}, ["target: got 'z'", "a column of t.csv: a, b, y"]),
    "near": (PLAIN, {"target": "Y"}, ["did you mean 'y'?"]),
    "no feature": (PLAIN, {"features": ["a", "c"]}, ["features: got 'c'", "a, b, y"]),
    "no drop": (PLAIN, {"drop": ["c"]}, ["drop: got 'c'"]),
    "no category": (PLAIN, {"categorical": ["c"]}, ["categorical: got 'c'"]),
    "category dropped": (PLAIN, {"categorical": ["b"], "drop": ["b"]}, ["categorical: got 'b'", "are features: a"]),
    "no split": (PLAIN, {"split": "c"}, ["split: got 'c'"]),
    "target as feature": (PLAIN, {"features": ["y"]}, ["features: got 'y'", "other than the target"]),
    "target dropped": (PLAIN, {"drop": ["y"]}, ["drop: got 'y'", "other than the target"]),
    "feature twice": (PLAIN, {"features": ["a", "a"]}, ["each column once"]),
    "feature dropped": (PLAIN, {"features": ["a"], "drop": ["a"]}, ["drop: got 'a'", "not in features"]),
    "all dropped": (PLAIN, {"drop": ["a", "b"]}, ["no feature is left", "drop fewer"]),
    "none": (PLAIN, {"features": []}, ["no feature is left", "name at least one"]),
    "split is target": (PLAIN, {"split": "y"}, ["another column than the target"]),
    "split says": (PLAIN, {"split": "b"}, ["'b' has 0 in row 1 of t.csv", "train, validation or test"]),
    "missing": (
        lines(row3="2,,q", row6="5,,q", row7=",6,p"),
        {},
        [
            "missing: missing values in 'a' (1, first in row 7 of t.csv), 'b' (2, first in row 3",
            "impute",
            "drop: [a, b]",
        ],
    ),
    "infinite": (lines(row5="inf,4,p"), {}, ["column 'a' has 1 infinite values, first in row 5", "drop: [a]"]),
    "infinite imputed": (lines(row5="-inf,4,p"), {"missing": "impute"}, ["1 infinite values"]),
    "target missing": (lines(row9="8,1,"), {"missing": "impute"}, ["'y' lacks 1 values, first in row 9"]),
    "target infinite": (lines(row9="8,1,p", row10="9,inf,q"), {"target": "b"}, ["'b' has 1 infinite values"]),
    "one class": ("a,y\n" + "".join(f"{row},p\n" for row in range(9)), {}, ["one value only, 'p'", "two classes"]),
    "whole numbers": (
        "a,y\n" + "".join(f"{row % 5},{row}\n" for row in range(60)),
        {},
        ["60 different whole numbers", "kind: regression"],
    ),
    "no classes": (PLAIN, {"target": "a", "kind": "classification"}, ["'a' has 30 different values in 30 rows"]),
    "texts are no numbers": (PLAIN, {"kind": "regression"}, ["'y' holds 'p', which is no number"]),
    "id column": (
        "id,a,y\n" + "".join(f"n{row},{row},{row % 2}\n" for row in range(60)),
        {},
        ["'id' has, in 36 training rows, 36 different texts", "drop: [id]", "categorical: [id]"],
    ),
    "text among numbers": (lines(row4="?,3,q"), {}, ["'a' holds numbers, but '?' in row 4 of t.csv"]),
    "constant": ("a,y\n" + "".join(f"1,{row % 2}\n" for row in range(30)), {}, ["each is constant"]),
    "too large": (lines(row4="1e300,3,q", row5="-1e300,3,q", row6="1e299,1,p"), {}, ["column 'a' are too large"]),
    "few rows": ("a,y\n1,2.5\n2,3.5\n", {}, ["split has no row: the table has 2"]),
    "subset": (PLAIN, {"subset": 40}, ["subset: got 40", "at most the 18 training rows"]),
    "subset 0": (PLAIN, {"subset": 0}, ["subset: got 0"]),
    "subset of one class": (PLAIN, {"subset": 1}, ["'y' has one value only in the train split (1 rows)"]),
    "validation": (PLAIN, {"validation": 0.0}, ["validation: got 0.0", "above 0"]),
    "shares": (PLAIN, {"validation": 0.5, "test": 0.5}, ["test: got 0.5", "less than 0.5"]),
    "hidden": (PLAIN, {"hidden": []}, ["hidden: got []", "[128, 128]"]),
    "hidden 0": (PLAIN, {"hidden": [0]}, ["hidden: got [0]"]),
    "unequal": (PLAIN, {"model": "resmlp", "hidden": [4, 8]}, ["equal widths"]),
    "dropout": (PLAIN, {"dropout": 1.0}, ["dropout: got 1.0"]),
    "noise": (PLAIN, {"label_noise": -0.1}, ["label_noise: got -0.1"]),
    "noise of numbers": (PLAIN, {"target": "b", "kind": "regression", "label_noise": 0.1}, ["'b' is a number"]),
}


@pytest.mark.parametrize("case", WRONG_TABLES)
def test_what_is_wrong_with_a_table_is_told(case, tmp_path):
    text, options, parts = WRONG_TABLES[case]
    path = text_file(tmp_path / "t.csv", text)
    with pytest.raises((OptionError, DataError)) as caught:
        Tabular(path, **{"target": "y", **options})
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert len(str(caught.value)) < 400 + len(path)


def test_what_is_wrong_with_a_file_is_told(frame, tmp_path, csv, monkeypatch):
    def told(path, **options):
        with pytest.raises((OptionError, DataError)) as caught:
            Tabular(str(path), **{"target": "label", **options})
        assert (getattr(caught.value, "option", None)) == "path"
        return str(caught.value)

    assert "did you mean" in told(tmp_path / "peple.csv") and "people.csv" in told(tmp_path / "peple.csv")
    assert "a file or folder that is there" in told(tmp_path / "no" / "such.csv")
    assert "a file or folder that is there" in told("x" * 300 + ".csv") or "too long" in told("x" * 300 + ".csv")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    assert "save a spreadsheet as CSV" in told(tmp_path / "sheet.xlsx")
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    assert "not a parquet file" in told(tmp_path / "x.parquet")
    (tmp_path / "x.csv.gz").write_bytes(b"no gzip")
    assert "not a gzip file" in told(tmp_path / "x.csv.gz")
    whole = gzip.compress(PLAIN.encode())
    (tmp_path / "y.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "not a gzip file" in told(tmp_path / "y.csv.gz")
    (tmp_path / "latin.csv").write_bytes("a,label\n1,p\n2,caf\xe9\n".encode("latin-1"))
    assert "latin.csv:3: is not UTF-8 text (byte 0xe9)" in told(tmp_path / "latin.csv")
    (tmp_path / "folder").mkdir()
    assert "no file of the training rows" in told(tmp_path / "folder")
    written(frame[:100], tmp_path / "folder" / "train.csv")
    written(frame[100:].drop(columns="age"), tmp_path / "folder" / "test.csv")
    assert "test.csv lacks 'age'" in told(tmp_path / "folder")
    written(frame[100:], tmp_path / "folder" / "test.parquet")
    assert "test.csv and test.parquet are the same part" in told(tmp_path / "folder")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    written(frame, tmp_path / "closed.csv")
    assert "cannot be read: Permission denied" in told(tmp_path / "closed.csv")


def test_a_split_column_beside_a_folder_of_splits_is_refused(frame, tmp_path):
    for name, rows in (("train", frame[:150]), ("test", frame[150:])):
        written(rows, tmp_path / f"{name}.csv")
    with pytest.raises(OptionError, match="the files of the folder are the split already"):
        Tabular(str(tmp_path), "label", split="city")


def test_rows_of_a_folder_are_named_by_their_file(frame, tmp_path):
    written(frame[:150], tmp_path / "train.csv")
    other = frame[150:].reset_index(drop=True)
    other.loc[4, "age"] = numpy.nan
    written(other, tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"'age' \(1, first in row 5 of test.csv\)"):
        Tabular(str(tmp_path), "label")


@pytest.mark.parametrize("values", [[[1], [2]] * 10, pandas.date_range("2024-01-01", periods=20)])
def test_columns_that_are_neither_numbers_nor_texts_are_refused(values, tmp_path):
    path = written(pandas.DataFrame({"x": values, "a": range(20), "y": ["n", "p"] * 10}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column 'x' of t.parquet holds .*; turn them into numbers, or drop"):
        Tabular(path, "y")
    assert Tabular(path, "y", drop=["x"]).inputs == ("a",)


def test_an_index_that_pandas_wrote_is_a_column_where_it_has_a_name(tmp_path):
    frame = pandas.DataFrame({"x": [float(i % 9) for i in range(60)], "y": ["a", "b"] * 30})
    frame.index = [f"r{i}" for i in range(60)]
    frame.to_parquet(tmp_path / "unnamed.parquet")
    plain = Tabular(str(tmp_path / "unnamed.parquet"), "y").data(0)
    assert plain.train[0].shape[1] == 1
    frame.loc["r5", "x"] = math.inf
    frame.to_parquet(tmp_path / "wrong.parquet")
    with pytest.raises(DataError, match="x"):
        Tabular(str(tmp_path / "wrong.parquet"), "y")
    frame = frame.assign(x=range(60))
    frame.index = pandas.Index([i % 5 for i in range(60)], name="customer")
    frame.to_parquet(tmp_path / "named.parquet")
    assert Tabular(str(tmp_path / "named.parquet"), "y").data(0).train[0].shape[1] == 2
    assert Tabular(str(tmp_path / "named.parquet"), "y", drop=["customer"]).data(0).train[0].shape[1] == 1
