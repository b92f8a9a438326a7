"""The image tasks: options, splits, label noise, networks, ids; and the real CIFAR-10 where it is."""

import io
import os
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from torch import nn

from hpsearch.hyperparameters import Settings
from hpsearch.tasks import Task, identity, resolve
from hpsearch.tasks.images import Cifar10, Cifar100, FashionMnist, Images
from hpsearch.tasks.images.normalize import Normalize
from hpsearch.tasks.protocol import DataError, OptionError
from hpsearch.training.loop import train
from tests.training.resuming import assert_goes_on

SMALL = {"model": "resnet-fast", "width": 0.125}
CIFAR10 = Path(os.environ.get("HPSEARCH_CIFAR10") or Path(__file__).parents[2].parent / "shared" / "data" / "cifar10")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """One for the module: decoding the real set takes seconds."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HPSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write(folder, sizes, side=32, channels=3, classes=10, columns=("img", "label")):
    """Parquet files by split, with classes that differ in brightness, in turn."""
    random = numpy.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for split, number in sizes.items():
        labels = numpy.arange(number) % classes
        shape = (number, side, side, 3) if channels == 3 else (number, side, side)
        shades = (labels * (200 // classes)).reshape(-1, *[1] * (len(shape) - 1))
        pixels = (random.integers(0, 40, shape) + shades).astype("uint8")
        images = [{"bytes": png(one), "path": None} for one in pixels]
        kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        table = pyarrow.table({columns[0]: pyarrow.array(images, kind), columns[1]: labels})
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cifar"), {"train": 200, "test": 50})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Five classes of 8x8 images with a validation split."""
    return write(tmp_path_factory.mktemp("three"), {"train": 100, "validation": 20, "test": 30}, side=8, classes=5)


def parts(data):
    return data.train, data.val, data.test


def rows_of(batch):
    return [image.numpy().tobytes() for image in batch[0]]


def refused(build, option, *texts, error=OptionError):
    with pytest.raises(error) as caught:
        build()
    assert caught.value.option == option
    for text in texts:
        assert text in str(caught.value)


# Splits


def test_a_tenth_is_held_out_and_nothing_is_lost_or_shared(cifar):
    data = Cifar10(cifar, **SMALL).data(0)
    assert [len(batch[1]) for batch in parts(data)] == [180, 20, 50]
    for images, labels in parts(data):
        assert images.dtype == torch.uint8 and images.shape[1:] == (3, 32, 32) and labels.dtype == torch.int64
        assert len(set(torch.bincount(labels, minlength=10).tolist())) == 1
    rows = [row for batch in parts(data) for row in rows_of(batch)]
    assert len(set(rows)) == 250


def test_splits_are_the_same_whatever_the_seed_and_other_options(cifar):
    torch.manual_seed(1)
    first = Cifar10(cifar, **SMALL).data(0)
    torch.manual_seed(2)
    second = Cifar10(cifar, **SMALL, label_noise=0.3, augment="none").data(5)
    for mine, other in zip(parts(first), parts(second), strict=True):
        assert torch.equal(mine[0], other[0])
    assert torch.equal(first.val[1], second.val[1]) and torch.equal(first.test[1], second.test[1])


def test_data_copies_no_images(cifar):
    task = Cifar10(cifar, **SMALL, label_noise=0.3)
    places = {task.data(seed).train[0].data_ptr() for seed in range(3)}
    places |= {Cifar10(cifar, **SMALL, augment="none", train_fraction=0.5).data(0).train[0].data_ptr()}
    assert len(places) == 1


@pytest.mark.parametrize(("validation", "number"), [(30, 30), (0.25, 50)])
def test_validation_is_a_number_or_a_share(cifar, validation, number):
    task = Cifar10(cifar, **SMALL, validation=validation)
    assert [len(batch[1]) for batch in parts(task.data(0))] == [200 - number, number, 50]


def test_a_sets_own_validation_split_is_used(three):
    data = Images(three, **SMALL).data(0)
    assert [len(batch[1]) for batch in parts(data)] == [100, 20, 30]
    refused(lambda: Images(three, **SMALL, validation=0.2), "validation", "its own validation split of 20 images")
    refused(lambda: Images(three, **SMALL, test=5), "test", "leave it out: the set has its own test split of 30")


def test_without_a_test_split_the_validation_split_is_it_or_a_fifth_is_held_out(tmp_path):
    both = write(tmp_path / "both", {"train": 100, "validation": 20}, side=8, classes=5)
    data = Images(both, **SMALL).data(0)
    assert [len(batch[1]) for batch in parts(data)] == [90, 10, 20]
    one = write(tmp_path / "one", {"train": 100}, side=8, classes=5)
    for options, sizes in (({}, [72, 8, 20]), ({"test": 30, "validation": 0.5}, [35, 35, 30])):
        task = Images(f"{one}/train.parquet", **SMALL, **options)
        data = task.data(0)
        assert [len(batch[1]) for batch in parts(data)] == sizes
        assert len({row for batch in parts(data) for row in rows_of(batch)}) == 100
        pixels = data.train[0].double() / 255  # neither what is held out enters
        torch.testing.assert_close(torch.tensor(task.mean, dtype=torch.float64), pixels.mean((0, 2, 3)))
    refused(lambda: Cifar10(write(tmp_path / "c", {"train": 20}), **SMALL), "path", "has no test set", error=DataError)


def test_a_subset_is_balanced_and_a_fraction_in_proportion(cifar):
    whole = rows_of(Cifar10(cifar, **SMALL).data(0).train)
    task = Cifar10(cifar, **SMALL, subset=47)
    data = task.data(0)
    assert sorted(torch.bincount(data.train[1]).tolist()) == [4] * 3 + [5] * 7
    assert set(rows_of(data.train)) < set(whole)
    assert rows_of(task.data(3).train) == rows_of(data.train)
    assert set(rows_of(data.train)) < set(rows_of(Cifar10(cifar, **SMALL, subset=48).data(0).train))
    assert len(data.val[1]) == 20 and len(data.test[1]) == 50
    part = Cifar10(cifar, **SMALL, train_fraction=0.5).data(0).train
    assert torch.bincount(part[1]).tolist() == [9] * 10
    assert len(Cifar10(cifar, **SMALL, train_fraction=1.0).data(0).train[1]) == 180


def test_a_subset_of_a_lopsided_set_is_as_balanced_as_it_can_be(tmp_path):
    folder = tmp_path / "set"
    for split in ("train", "test"):
        for name, number in (("few", 3), ("many", 40)):
            (folder / split / name).mkdir(parents=True)
            for row in range(number):
                pixels = numpy.full((8, 8), row, "uint8")
                (folder / split / name / f"{row}.png").write_bytes(png(pixels))
    task = Images(str(folder), **SMALL, validation=10, subset=8)
    assert task.images.classes == ("few", "many")
    few = int((Images(str(folder), **SMALL, validation=10).data(0).train[1] == 0).sum())
    assert 1 <= few <= 3
    assert torch.bincount(task.data(0).train[1]).tolist() == [few, 8 - few]


# Label noise


def test_noise_is_exact_drawn_for_each_seed_and_in_training_alone(cifar):
    clean = Cifar10(cifar, **SMALL).data(0)
    for noise, number in (("symmetric", 72), ("asymmetric", 5 * round(0.4 * 18))):
        task = Cifar10(cifar, **SMALL, label_noise=0.4, noise=noise)
        wrong = [task.data(seed).train[1] != clean.train[1] for seed in (0, 1)]
        assert [int(mask.sum()) for mask in wrong] == [number] * 2
        assert not torch.equal(*wrong)
        assert torch.equal(task.data(0).train[1], task.data(0).train[1])
        assert torch.equal(task.data(0).val[1], clean.val[1]) and torch.equal(task.data(0).test[1], clean.test[1])
    assert torch.equal(Cifar10(cifar, **SMALL).data(0).train[1], clean.train[1])
    swapped = {(int(a), int(b)) for a, b in zip(clean.train[1][wrong[0]], task.data(0).train[1][wrong[0]], strict=True)}
    assert swapped == {(9, 1), (2, 0), (4, 7), (3, 5), (5, 3)}


def test_asymmetric_noise_is_cifar10s(three, cifar, tmp_path):
    for build in (
        lambda: Images(three, **SMALL, label_noise=0.4, noise="asymmetric"),
        lambda: Cifar100(cifar, **SMALL, label_noise=0.4, noise="asymmetric"),
    ):
        refused(build, "noise", "asymmetric is defined for the classes of cifar10 alone")


# Network and augmentation


def test_normalize_is_the_definition():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    mean, std = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)
    found = Normalize(mean, std)(images)
    expected = (images.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-6)
    assert not list(Normalize(mean, std).parameters()) and len(Normalize(mean, std).state_dict()) == 2


@pytest.mark.parametrize(("kind", "side", "channels"), [(Cifar10, 32, 3), (FashionMnist, 28, 1), (Cifar100, 32, 3)])
def test_the_known_sets(kind, side, channels, tmp_path):
    columns = kind.known(None).columns
    classes = len(kind.known(None).classes)
    sizes = {"train": 2 * classes, "test": classes}
    task = kind(
        write(tmp_path / "set", sizes, side, channels, classes, columns), **SMALL, augment="crop-flip", cutout=4
    )
    assert isinstance(task, Task)
    data = task.data(0)
    model = task.model().eval()
    assert isinstance(model[0], nn.Module) and model(data.test[0][:3]).shape == (3, classes)
    assert set(task.measure(model, *(tensor[:3] for tensor in data.test))) == {"loss", "accuracy"}
    changed, labels = task.augment(data.train, torch.Generator().manual_seed(0))
    assert changed.shape == data.train[0].shape and not torch.equal(changed, data.train[0])
    assert labels is data.train[1]
    fill = torch.tensor([round(255 * mean) for mean in task.mean])
    assert int((changed == fill.view(-1, 1, 1)).all(1).sum()) >= 4 * len(changed)  # a quarter of the square at least


def test_names_of_augmentations(cifar):
    found = {name: Cifar10(cifar, **SMALL, augment=name).augmentation for name in ("crop-flip", "crop", "flip", "none")}
    assert {name: (a.padding, a.flip, a.cutout) for name, a in found.items()} == {
        "crop-flip": (4, True, 0),
        "crop": (4, False, 0),
        "flip": (0, True, 0),
        "none": (0, False, 0),
    }


def test_coarse_labels(tmp_path):
    path = write(tmp_path / "set", {"train": 40, "test": 20}, classes=20, columns=("img", "coarse_label"))
    task = Cifar100(path, **SMALL, label_column="coarse_label")
    assert task.model()(task.data(0).val[0]).shape[1] == 20


def test_a_set_is_learned_and_its_bits_are_the_seeds(three):
    """Its classes differ in brightness. One step of augmentation changes the bits."""
    settings = Settings.merge({"epochs": 6, "batch_size": 10, "lr": 0.1})
    first, second = (train(Images(three, **SMALL), settings, seed=0) for _ in range(2))
    assert first.status == "complete" and first.metrics["test_accuracy"] > 0.5
    assert first.metrics == second.metrics
    assert train(Images(three, **SMALL, augment="none"), settings, seed=0).metrics != first.metrics


def test_a_constructor_leaves_the_global_generator_alone(cifar):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Cifar10(cifar, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)


# Options


@pytest.mark.parametrize(
    ("options", "option", "text"),
    [
        ({"model": "resnet"}, "model", "resnet18"),
        ({"norm": "layer"}, "norm", "group"),
        ({"width": 0}, "width", "a factor from"),
        ({"augment": "flips"}, "augment", "did you mean 'flip'?"),
        ({"noise": "asymetric"}, "noise", "did you mean 'asymmetric'?"),
        ({"label_noise": 1.0}, "label_noise", "a share in [0, 1)"),
        ({"label_noise": float("nan")}, "label_noise", "a share in [0, 1)"),
        ({"cutout": 33}, "cutout", "from 0 (none) to 32"),
        ({"cutout": -1}, "cutout", "from 0 (none) to 32"),
        ({"validation": 200}, "validation", "a whole number from 1 to 199"),
        ({"validation": 0}, "validation", "a share in (0, 1)"),
        ({"subset": 0}, "subset", "a whole number from 1 to 180"),
        ({"subset": 181}, "subset", "a whole number from 1 to 180"),
        ({"train_fraction": 0.0}, "train_fraction", "a share in (0, 1]"),
        ({"train_fraction": 1.1}, "train_fraction", "a share in (0, 1]"),
        ({"subset": 50, "train_fraction": 0.5}, "train_fraction", "not both"),
    ],
)
def test_wrong_options_are_refused_by_name(cifar, options, option, text):
    refused(lambda: Cifar10(cifar, **{**SMALL, **options}), option, text)


def test_wrong_options_of_images(three):
    refused(lambda: Images(**SMALL), "path", "one of the two")
    refused(lambda: Images(three, dataset="a/b", **SMALL), "path", "one of the two")
    refused(lambda: Images(three, config="x", **SMALL), "config", "goes with dataset, not with path")
    refused(lambda: Images(three, revision="x", **SMALL), "revision", "goes with dataset, not with path")
    refused(lambda: Images(three, size=0, **SMALL), "size", "from 1 to 1024")


# Ids


def test_ids_have_the_content_and_not_the_path(cifar, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in Path(cifar).iterdir():
        (elsewhere / f"{file.stem}-00000-of-00001.parquet").write_bytes(file.read_bytes())
    task = resolve("cifar10")
    first = identity("cifar10", task, {"path": cifar, "label_noise": 0.3, **SMALL})
    assert identity("cifar10", task, {"path": str(elsewhere), "label_noise": 0.3, **SMALL}) == first
    assert set(first["options"]) == {"content", "classes", "label_noise", "model", "width"}
    named = {"path": cifar, "label_noise": 0.3, **SMALL, "label_column": "label"}
    assert identity("cifar10", task, named) == first
    other = write(tmp_path / "other", {"train": 190, "test": 50})
    assert identity("cifar10", task, {"path": other, "label_noise": 0.3, **SMALL}) != first


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "images"])
def test_the_names_are_found(name):
    assert resolve(name).metrics == ("loss", "accuracy")


# The real set


@pytest.mark.skipif(
    not (CIFAR10 / "train.parquet").is_file(), reason="CIFAR-10's parquet files are not there: set HPSEARCH_CIFAR10"
)
def test_the_real_cifar10(capsys):
    start = time.perf_counter()
    task = Cifar10(str(CIFAR10), **SMALL, label_noise=0.3)
    first = time.perf_counter() - start
    start = time.perf_counter()
    data = Cifar10(str(CIFAR10), **SMALL, label_noise=0.3).data(0)
    again = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nCIFAR-10: {first:.1f} s the first time, {again:.3f} s in the same process")
    assert [len(batch[1]) for batch in parts(data)] == [45_000, 5_000, 10_000]
    assert torch.bincount(data.val[1]).tolist() == [500] * 10 and torch.bincount(data.test[1]).tolist() == [1000] * 10
    assert torch.bincount(Cifar10(str(CIFAR10), **SMALL).data(0).train[1]).tolist() == [4500] * 10
    assert int((data.train[1] != Cifar10(str(CIFAR10), **SMALL).data(0).train[1]).sum()) == 13_500
    for found, published in ((task.splits.mean, task.mean), (task.splits.std, task.std)):
        assert found == pytest.approx(published, abs=0.005)  # of 45,000 of the 50,000
    chance = task.chance(data)
    assert chance["test_accuracy"] == 0.1


def test_a_trial_with_crops_and_noise_goes_on_from_its_checkpoint(cifar, tmp_path):
    def task():
        return Cifar10(path=cifar, model="resnet-fast", width=0.125, norm="batch", cutout=8, label_noise=0.3)

    settings = Settings.merge({"epochs": 2, "batch_size": 32, "rho": 0.05})
    assert_goes_on(task, settings, tmp_path / "trial.pt", at=7)  # 5 batches an epoch


def test_asymmetric_noise_needs_the_sets_own_names(tmp_path):
    for split, number in (("train", 3), ("test", 1)):
        for place, name in enumerate(("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f"{i}.png").write_bytes(png(numpy.full((32, 32, 3), 20 * place + i, "uint8")))
    Cifar10(path=str(tmp_path), label_noise=0.2)
    with pytest.raises(OptionError, match="here they are bird, car, cat"):
        Cifar10(path=str(tmp_path), label_noise=0.2, noise="asymmetric")
