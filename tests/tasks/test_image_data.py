"""Images on the disk and from the hub: found, read, decoded, put in order; and what is said when they are wrong."""

import io
import json
import os
import shutil

import numpy
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hpsearch.tasks.data import Recipe, load
from hpsearch.tasks.data.fingerprint import file_digest
from hpsearch.tasks.data.roles import by_role, role
from hpsearch.tasks.data.split import balanced, held_out, spread_order
from hpsearch.tasks.protocol import DataError, OptionError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HPSEARCH_CACHE", str(folder))
    return folder


def picture(seed, side=8, mode="RGB"):
    channels = {"RGB": (3,), "RGBA": (4,), "LA": (2,), "L": ()}[mode]
    return Image.fromarray(numpy.random.default_rng(seed).integers(0, 256, (side, side, *channels), "uint8"), mode=None)


def png(image):
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def table(images, labels, image="img", label="label", names=None, more=None):
    """In the hub's schema: struct<bytes, path>, and the classes' names in the metadata."""
    held = pyarrow.array([{"bytes": data, "path": None} for data in images], IMAGE)
    found = pyarrow.table({image: held, label: labels, **(more or {})})
    if names is None:
        return found
    features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
    return found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


def write(folder, train=None, test=None, names=("train", "test"), **options):
    """A folder of parquet files; by default 12 and 4 images of two classes."""
    folder.mkdir(parents=True, exist_ok=True)
    train = train if train is not None else ([png(picture(i)) for i in range(12)], [0, 1] * 6)
    test = test if test is not None else ([png(picture(100 + i)) for i in range(4)], [0, 1] * 2)
    for name, split in zip(names, (train, test), strict=True):
        pyarrow.parquet.write_table(table(*split, **options), folder / f"{name}.parquet", row_group_size=5)
    return folder


def wrong(folder, option, *parts, **options):
    """The one message that loading ends in."""
    with pytest.raises(DataError) as caught:
        load(Recipe(str(folder), **options))
    text = f"{caught.value.problem}; {caught.value.remedy}"
    assert caught.value.option == option, text
    for part in parts:
        assert part in text
    assert "\n" not in text
    return text


def rows_of(found, split):
    """Each image's bytes with its label."""
    images, labels = found.splits[split]
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


# What is read


def test_pixels_and_labels_are_those_of_the_files(tmp_path):
    found = load(Recipe(str(write(tmp_path))))
    expected = [(numpy.asarray(picture(i)).transpose(2, 0, 1).tobytes(), i % 2) for i in range(12)]
    assert rows_of(found, "train") == sorted(expected)
    images, labels = found.splits["test"]
    assert labels.tolist() == [0, 1, 0, 1] and labels.dtype == numpy.int64
    assert (images == [numpy.asarray(picture(100 + i)).transpose(2, 0, 1) for i in range(4)]).all()
    assert (found.channels, found.side, found.classes) == (3, 8, ("0", "1"))


def test_mean_and_std_are_those_of_the_training_images_asked_for(tmp_path):
    found = load(Recipe(str(write(tmp_path))))
    for start, end in ((0, 12), (3, 12), (2, 5)):
        pixels = found.splits["train"][0][start:end].astype(float) / 255
        mean, std = found.mean_and_std(start, end)
        numpy.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-12)
        numpy.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-9)


def test_a_channel_without_variation_can_be_normalised(tmp_path):
    black = png(Image.new("L", (8, 8), 0))
    found = load(Recipe(str(write(tmp_path, ([black] * 4, [0, 1] * 2), ([black], [0])))))
    assert found.mean_and_std(0, 4) == ((0.0,), (1.0,))


@pytest.mark.parametrize(
    "names",
    [("train", "test"), ("train-00000-of-00001", "test-00000-of-00001"), ("my_train_part", "my_testing_part")],
)
def test_files_are_known_by_their_names(tmp_path, names):
    assert set(load(Recipe(str(write(tmp_path, names=names)))).splits) == {"train", "test"}
    shutil.copytree(tmp_path, tmp_path / "repository" / "data", ignore=shutil.ignore_patterns("repository"))
    assert set(load(Recipe(str(tmp_path / "repository"))).splits) == {"train", "test"}


def test_parts_are_read_in_order_and_must_all_be_there(tmp_path):
    whole = load(Recipe(str(write(tmp_path / "whole"))))
    images, labels = [png(picture(i)) for i in range(12)], [0, 1] * 6
    parts = tmp_path / "parts"
    write(parts, (images[:7], labels[:7]), names=("train-00000-of-00002", "test"))
    wrong(parts, "path", "the train files in", "are not parts 0 to 1 of one set: train-00000-of-00002")
    pyarrow.parquet.write_table(table(images[7:], labels[7:]), parts / "train-00001-of-00002.parquet")
    found = load(Recipe(str(parts)))
    assert (found.splits["train"][0] == whole.splits["train"][0]).all()
    assert found.content == whole.content


def test_a_validation_split_is_read(tmp_path):
    write(tmp_path)
    write(tmp_path / "other", names=("valid", "unused"))
    shutil.move(tmp_path / "other" / "valid.parquet", tmp_path / "valid.parquet")
    found = load(Recipe(str(tmp_path)))
    assert set(found.splits) == {"train", "validation", "test"} and len(found.splits["validation"][1]) == 12


def test_one_file_is_a_training_set(tmp_path):
    write(tmp_path)
    assert set(load(Recipe(str(tmp_path / "train.parquet"))).splits) == {"train"}


def test_role_goes_by_words():
    assert [role(name) for name in ("contest", "Training set", "val2", "train_test", "latest")] == [
        None,
        "train",
        "validation",
        None,
        None,
    ]
    assert by_role(["test", "train-1", "train-0", "notes"]) == {"train": ["train-0", "train-1"], "test": ["test"]}


def write_folders(folder, splits=("train", "test"), classes=("cat", "dog")):
    for split in splits:
        for number, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for row in range(4):
                (place / f"{row}.png").write_bytes(png(picture(hash_of(split, number, row))))
    return folder


def hash_of(split, number, row):
    return {"train": 0, "test": 100, "": 200, "val": 300}[split] + 10 * number + row


def test_folders_of_images_are_a_set(tmp_path):
    found = load(Recipe(str(write_folders(tmp_path))))
    assert found.classes == ("cat", "dog")
    expected = [(picture(hash_of("train", n, r)), n) for n in range(2) for r in range(4)]
    pixels = sorted((numpy.asarray(image).transpose(2, 0, 1).tobytes(), label) for image, label in expected)
    assert rows_of(found, "train") == pixels and len(found.splits["test"][1]) == 8


def test_class_folders_alone_are_a_training_set(tmp_path):
    (tmp_path / ".hidden").mkdir()
    found = load(Recipe(str(write_folders(tmp_path, splits=("",)))))
    assert set(found.splits) == {"train"} and found.classes == ("cat", "dog")


def test_a_known_sets_classes_keep_their_numbers_whatever_the_folders_order(tmp_path):
    found = load(Recipe(str(write_folders(tmp_path)), classes=("dog", "cat"), channels=3, side=8))
    labels = {image: label for image, label in rows_of(found, "train")}
    assert labels[numpy.asarray(picture(0)).transpose(2, 0, 1).tobytes()] == 1  # a cat


def test_names_are_labels_too(tmp_path):
    images = [png(picture(i)) for i in range(4)]
    labels = pyarrow.array(["dog", "cat", "dog", "ant"]).dictionary_encode()  # as pandas writes categories
    found = load(Recipe(str(write(tmp_path, (images, labels), (images[:1], pyarrow.array(["dog"]))))))
    assert found.classes == ("ant", "cat", "dog")
    assert found.splits["test"][1].tolist() == [2]


def test_the_schemas_names_are_the_classes(tmp_path):
    found = load(Recipe(str(write(tmp_path, names=("train", "test")))))
    assert found.classes == ("0", "1")
    named = tmp_path / "named"
    named.mkdir()
    for split, rows in (("train", 12), ("test", 4)):
        images = [png(picture(i)) for i in range(rows)]
        one = table(images, [0, 2] * (rows // 2), names=["a", "b", "c"])
        pyarrow.parquet.write_table(one, named / f"{split}.parquet")
    assert load(Recipe(str(named))).classes == ("a", "b", "c")  # b has no image, and keeps its number


def test_raw_bytes_are_images_and_paths_alone_are_refused(tmp_path):
    plain = load(Recipe(str(write(tmp_path / "plain"))))
    for kind in ("bytes", "paths"):
        folder = tmp_path / kind
        folder.mkdir()
        for split, start, rows in (("train", 0, 12), ("test", 100, 4)):
            images = [png(picture(start + i)) for i in range(rows)]
            paths = pyarrow.array([{"bytes": None, "path": f"{split}{i}.png"} for i in range(rows)], IMAGE)
            held = pyarrow.array(images, pyarrow.binary()) if kind == "bytes" else paths
            found = pyarrow.table({"img": held, "label": [0, 1] * (rows // 2)})
            pyarrow.parquet.write_table(found, folder / f"{split}.parquet")
    assert load(Recipe(str(tmp_path / "bytes"))).content == plain.content
    with pytest.raises(DataError, match="train.parquet holds the paths of images"):
        load(Recipe(str(tmp_path / "paths")))


# Modes and sizes


def test_grey_images_have_one_channel_and_mixed_ones_three(tmp_path):
    grey = [png(picture(i, mode=mode)) for i, mode in enumerate(("L", "LA", "L", "L"))]
    deep = numpy.arange(64, dtype=numpy.uint16).reshape(8, 8) * 1000
    grey.append(png(Image.fromarray(deep)))
    labels = [0, 1, 0, 1, 0]
    found = load(Recipe(str(write(tmp_path / "grey", (grey, labels), (grey[:2], [0, 1])))))
    assert found.channels == 1
    assert ((deep >> 8).astype("uint8").tobytes(), 0) in rows_of(found, "train")
    # One coloured image, in the test set, makes all RGB.
    mixed = load(Recipe(str(write(tmp_path / "mixed", (grey, labels), ([grey[0], png(picture(9))], [0, 1])))))
    assert mixed.channels == 3
    spread = mixed.splits["train"][0]
    assert (spread[:, :1] == spread).all()
    assert (spread[:, :1] == found.splits["train"][0]).all()
    assert (mixed.splits["test"][0][1] == numpy.asarray(picture(9)).transpose(2, 0, 1)).all()


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path):
    transparent, palette = picture(1, mode="RGBA"), picture(2).quantize(16)
    images = [png(transparent), png(palette)]
    found = load(Recipe(str(write(tmp_path, (images, [0, 1]), (images, [0, 1])))))
    assert (found.splits["test"][0][0] == numpy.asarray(transparent)[:, :, :3].transpose(2, 0, 1)).all()
    assert (found.splits["test"][0][1] == numpy.asarray(palette.convert("RGB")).transpose(2, 0, 1)).all()


def test_photographs_are_turned_as_their_camera_says(tmp_path):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture(1).save(file, "png", exif=exif)
    images = [file.getvalue()] * 2
    found = load(Recipe(str(write(tmp_path, (images, [0, 1]), (images, [0, 1])))))
    assert (found.splits["test"][0][0] == numpy.asarray(picture(1)).transpose(2, 0, 1)[:, ::-1, ::-1]).all()


def test_size_brings_the_short_side_and_cuts_the_centre(tmp_path):
    wide = numpy.zeros((8, 24, 3), "uint8")
    wide[:, 8:16] = 200  # the middle third
    images = [png(Image.fromarray(wide)), png(Image.new("RGB", (4, 4), (9, 9, 9)))]
    folder = write(tmp_path, (images, [0, 1]), (images, [0, 1]))
    found = load(Recipe(str(folder), size=8))
    assert found.side == 8 and (found.splits["test"][0][0] == 200).all() and (found.splits["test"][0][1] == 9).all()
    smaller = load(Recipe(str(folder), size=5))
    assert smaller.side == 5 and smaller.content == found.content
    wrong(folder, "size", "train.parquet, row 0: the image is 24x8 pixels", "squares", "size: 8")
    other = write(tmp_path / "other", ([png(picture(1)), png(picture(2, 9))], [0, 1]))
    wrong(other, "size", "train.parquet, row 1: the image is 9x9 pixels, the first one 8x8", "size: 8")


# The content, and the cache


def test_the_same_content_elsewhere_is_the_same(tmp_path):
    first = load(Recipe(str(write(tmp_path / "a"))))
    elsewhere = write(tmp_path / "b", names=("train-00000-of-00001", "test-00000-of-00001"), image="image")
    assert load(Recipe(str(elsewhere))).content == first.content
    for change in ("pixel", "label", "order"):
        images, labels = [png(picture(i)) for i in range(12)], [0, 1] * 6
        if change == "pixel":
            images[11] = png(picture(12))
        elif change == "label":
            labels[10:] = [1, 0]
        else:
            images[:2], labels[:2] = images[1::-1], labels[1::-1]
        assert load(Recipe(str(write(tmp_path / change, (images, labels))))).content != first.content


def test_changed_files_are_read_again_and_unchanged_ones_are_not(tmp_path, cache, monkeypatch):
    folder = write(tmp_path)
    first = load(Recipe(str(folder)))
    assert load(Recipe(str(folder))) is first
    write(folder, ([png(picture(50 + i)) for i in range(12)], [0, 1] * 6))
    second = load(Recipe(str(folder)))
    assert rows_of(second, "train") != rows_of(first, "train") and second.content != first.content
    assert len([place for place in (cache / "images").iterdir() if place.is_dir()]) == 2


def test_a_files_digest_is_remembered_until_it_changes(tmp_path, monkeypatch):
    import hashlib

    read = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: (read.append(1), original(file, name))[1])
    file = tmp_path / "file"
    file.write_bytes(b"one")
    assert file_digest(file) == file_digest(file) == hashlib.sha256(b"one").hexdigest() and read == [1]
    file.write_bytes(b"two")
    os.utime(file, ns=(0, 0))
    assert file_digest(file) == hashlib.sha256(b"two").hexdigest() and read == [1, 1]


# The order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_every_prefix_holds_each_class_in_proportion(labels):
    labels = numpy.array(labels)
    order = spread_order(labels)
    assert sorted(order.tolist()) == list(range(len(labels)))
    share = numpy.bincount(labels) / len(labels)
    for end in range(len(labels) + 1):
        counts = numpy.bincount(labels[order[:end]], minlength=len(share))
        # A class keeps within 1 of its own schedule; the schedules together may be ahead by as many.
        assert (numpy.abs(counts - share * end) < (len(share) + 1) / 2 + 1).all()
    assert (spread_order(labels) == order).all()


def test_equal_classes_are_exactly_as_many_in_each_round():
    labels = numpy.random.default_rng(0).permutation(numpy.arange(10).repeat(30))
    rounds = labels[spread_order(labels)].reshape(30, 10)
    assert (numpy.sort(rounds, 1) == numpy.arange(10)).all()
    assert len({tuple(one) for one in rounds.tolist()}) == 30  # in random order within


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.data())
def test_a_subset_is_balanced_and_lies_within_larger_ones(labels, data):
    labels = numpy.array(labels)
    number = data.draw(st.integers(1, len(labels)))
    rows = balanced(labels, number)
    assert len(set(rows.tolist())) == number and (numpy.sort(rows) == rows).all()
    have, counts = numpy.bincount(labels, minlength=5), numpy.bincount(labels[rows], minlength=5)
    most = counts.max()
    assert all(count >= min(most - 1, held) for count, held in zip(counts, have, strict=True))
    if number < len(labels):
        assert set(rows) < set(balanced(labels, number + 1))


@pytest.mark.parametrize(("value", "number"), [(0.1, 10), (1, 1), (99, 99), (0.995, None), (0.001, None)])
def test_held_out_takes_numbers_and_shares(value, number):
    if number is not None:
        assert held_out("validation", value, 100) == number
        return
    with pytest.raises(OptionError, match="a share in"):
        held_out("validation", value, 100)


@pytest.mark.parametrize("value", [0, -1, 100, 1.0, 1.5, -0.5, float("nan"), True])
def test_what_leaves_nothing_is_refused(value):
    with pytest.raises(OptionError, match=r"a share in \(0, 1\), or a whole number from 1 to 99"):
        held_out("validation", value, 100)


# What is wrong


def test_missing_places(tmp_path):
    write(tmp_path / "cifar")
    wrong(tmp_path / "cifra", "path", f"there is no {tmp_path}/cifra; did you mean {tmp_path}/cifar?", "give a parquet")
    wrong("no/such/folder", "path", f"there is no no/such/folder (looked in {os.getcwd()})")
    wrong(tmp_path / "cifar" / "train.parquet" / "more", "path", "a part of it is a file")
    (tmp_path / "empty").mkdir()
    wrong(tmp_path / "empty", "path", "holds no folders of images")


def test_files_of_no_split(tmp_path):
    wrong(write(tmp_path, names=("a", "b")), "path", "no file in", "named for the training set (found a.parquet, b.p")


def test_files_that_are_no_parquet(tmp_path):
    write(tmp_path)
    (tmp_path / "train.parquet").write_text("label,img\n")
    wrong(tmp_path, "path", "train.parquet is no parquet file that can be read", "fetch it again")
    short = write(tmp_path / "short") / "train.parquet"
    os.truncate(short, short.stat().st_size // 2)
    wrong(tmp_path / "short", "path", "train.parquet is no parquet file")


def test_a_page_that_is_damaged_inside(tmp_path):
    """The footer is whole: what is wrong shows only when rows are read, in whatever layer."""
    file = write(tmp_path) / "train.parquet"
    data = bytearray(file.read_bytes())
    data[4:200] = bytes(196)
    file.write_bytes(data)
    text = wrong(tmp_path, "path", "train.parquet")
    assert "no parquet file that can be read" in text or "cannot be read" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_files_that_may_not_be_read(tmp_path):
    (write(tmp_path) / "train.parquet").chmod(0)
    wrong(tmp_path, "path", "train.parquet cannot be read: Permission denied")


def test_columns_that_are_not_there(tmp_path):
    folder = write(tmp_path)
    wrong(folder, "image_column", "train.parquet has no column 'imgg'", "img, label; did you", image_column="imgg")
    wrong(folder, "label_column", "has no column 'labels'", "did you mean 'label'?", label_column="labels")
    wrong(folder, "image_column", "column 'label' of train.parquet holds no encoded images", image_column="label")
    wrong(folder, "label_column", "column 'img' of train.parquet holds no labels", label_column="img")


def test_columns_are_guessed_only_where_one_can_be_meant(tmp_path):
    two = write(tmp_path / "two", more=None)
    for split, rows in (("train", 12), ("test", 4)):
        images = [png(picture(i)) for i in range(rows)]
        one = table(images, [0, 1] * (rows // 2), label="kind", more={"maker": ["x"] * rows})
        pyarrow.parquet.write_table(one, two / f"{split}.parquet")
    wrong(two, "label_column", "train.parquet has several columns of labels", "name one: kind, maker")
    assert load(Recipe(str(two), label_column="kind")).classes == ("0", "1")
    for split, rows in (("train", 12), ("test", 4)):
        more = {"id": list(range(rows)), "score": [0.5] * rows}
        one = table([png(picture(i)) for i in range(rows)], [0, 1] * (rows // 2), more=more)
        pyarrow.parquet.write_table(one, two / f"{split}.parquet")
    assert load(Recipe(str(two))).classes == ("0", "1")  # label, by its name
    wrong(two, "label_column", "column 'score' of train.parquet holds no labels", label_column="score")
    bare = tmp_path / "bare.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1, 2]}), bare)
    wrong(bare, "image_column", "bare.parquet has no column of encoded images", "its columns are a")


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        ([0, 1, None, 1], ["train.parquet, row 2: the label is missing"]),
        ([0, 1, -1, 1], ["train.parquet, row 2: the label is -1", "often hides"]),
        ([1, 1, 1, 1], ["every label in train.parquet is 1", "two classes"]),
        ([None] * 4, ["holds no labels"]),
    ],
)
def test_labels_that_are_wrong(tmp_path, labels, parts):
    images = [png(picture(i)) for i in range(4)]
    wrong(write(tmp_path, (images, labels)), "label_column", *parts, label_column="label")


def test_labels_that_training_lacks(tmp_path):
    images = [png(picture(i)) for i in range(4)]
    new = write(tmp_path / "new", (images, [0, 1, 0, 1]), (images[:2], [0, 2]))
    wrong(new, "label_column", "test.parquet, row 1: the label is 2", "the classes are 0, 1")
    known = {"classes": ("a", "b"), "channels": 3, "side": 8}
    high = write(tmp_path / "high", (images, [0, 1, 2, 1]))
    wrong(high, "label_column", "train.parquet, row 2: the label is 2", "the classes are 0 to 1", **known)
    text = pyarrow.array(["cat", "dog", "cat", "dog"])
    typo = write(tmp_path / "typo", (images, text), (images[:1], pyarrow.array(["cats"])))
    wrong(typo, "label_column", "row 0: the label is 'cats'", "did you mean 'cat'?")


def test_images_that_cannot_be_read(tmp_path):
    images, labels = [png(picture(i)) for i in range(12)], [0, 1] * 6
    for name, data, part in (
        ("text", b"not an image", "the image cannot be read (it is of no known format)"),
        ("short", images[7][:60], "the image cannot be read"),
        ("none", None, "the image is missing"),
        ("empty", b"", "the image cannot be read"),
    ):
        broken = [*images[:7], data, *images[8:]]
        wrong(write(tmp_path / name, (broken, labels)), "path", "train.parquet, row 7: ", part, "leave")
    folders = write_folders(tmp_path / "folders")
    (folders / "train" / "dog" / "2.png").write_bytes(b"")
    wrong(folders, "path", str(folders / "train" / "dog" / "2.png"), "the image cannot be read")


def test_sets_without_images(tmp_path):
    none = pyarrow.array([], pyarrow.int64())
    wrong(write(tmp_path / "train", ([], none)), "path", "the train set (train.parquet) is empty")
    wrong(write(tmp_path / "test", test=([], none)), "path", "the test set (test.parquet) is empty")
    folders = write_folders(tmp_path / "folders")
    shutil.rmtree(folders / "test" / "cat")
    shutil.rmtree(folders / "test" / "dog")
    wrong(folders, "path", "the test set", "is empty")


def test_class_folders_that_differ(tmp_path):
    folders = write_folders(tmp_path)
    (folders / "test" / "dog").rename(folders / "test" / "dogs")
    wrong(folders, "path", "has a class 'dogs' that", "lacks", "did you mean 'dog'?")


def test_other_images_than_the_known_sets(tmp_path):
    known = {"classes": ("a", "b"), "channels": 3, "side": 32}
    wrong(write(tmp_path), "path", "row 0: the image is 8x8 pixels in 3 channels, and the set's are 32x32", **known)
    three = write_folders(tmp_path / "three", classes=("a", "b", "c"))
    wrong(three, "path", "has 3 classes, and the set 2", "task images takes any", classes=("a", "b"))
    wrong(write(tmp_path / "fewer"), "path", "images of 2 classes, and the set 3", classes=("a", "b", "c"))
    grey = [png(picture(i, mode="L")) for i in range(2)]
    late = write(tmp_path / "late", (grey, [0, 1]), ([png(picture(1))], [0]))
    wrong(late, "path", "some images have colours", classes=("a", "b"), channels=1, side=8)


# The hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """load_dataset as if the hub held the files of a folder."""
    import datasets

    folder = tmp_path / "hub"
    calls = []

    def load_dataset(name, config=None, revision=None):
        calls.append((name, config, revision))
        files = {path.stem: str(path) for path in folder.glob("*.parquet")}
        found = original("parquet", data_files=files, cache_dir=str(tmp_path / "hf"))
        features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        return found.cast(features)

    original = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()
    write(folder)
    return folder, calls


def test_the_hub_gives_what_the_files_give(hub, tmp_path):
    folder, calls = hub
    files = load(Recipe(str(folder)))
    found = load(Recipe(dataset="some/set", config="big", revision="v1", option="dataset"))
    assert calls == [("some/set", "big", "v1")]
    assert found.content == files.content and found.classes == ("a", "b")
    for split in ("train", "test"):
        assert (found.splits[split][0] == files.splits[split][0]).all()
        assert (found.splits[split][1] == files.splits[split][1]).all()
    load(Recipe(dataset="some/set", config="big", revision="v1", option="dataset"))
    assert len(calls) == 1  # cached
    load(Recipe(dataset="some/set", config="big", revision="v2", option="dataset"))
    assert len(calls) == 2


def refused(*parts, option="dataset", **options):
    with pytest.raises(DataError) as caught:
        load(Recipe(dataset="some/set", option="dataset", **options))
    assert caught.value.option == option
    for part in parts:
        assert part in str(caught.value)


def test_a_column_that_the_hubs_set_lacks(hub):
    refused("some/set (train) has no column 'image'", "did you mean", option="image_column", image_column="image")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (ConnectionError("Couldn't reach it"), ["is not on this machine, and the hub cannot be reached", "as path"]),
        (ValueError("Config name is missing. Please pick one"), ["has several configs", "Please pick one"]),
        (RuntimeError("a\nb"), ["could not be loaded (RuntimeError: a b)"]),
    ],
)
def test_what_the_hub_refuses_is_one_message(hub, monkeypatch, error, parts):
    import datasets

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    refused(*parts, option="config" if isinstance(error, ValueError) else "dataset")


def test_an_unknown_set_is_said(hub, monkeypatch):
    import datasets

    def fail(*args, **options):
        raise datasets.exceptions.DatasetNotFoundError("no")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    refused("the hub has no data set 'some/set'", "check its name")


def test_without_the_library_the_remedy_is_said(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("needs the library datasets", 'pip install "hpsearch[data]"')


def test_without_pillow_the_remedy_is_said(monkeypatch, tmp_path):
    import sys

    folder = write(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    wrong(folder, "path", "needs the library Pillow", 'pip install "hpsearch[data]"')
