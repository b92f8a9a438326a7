"""Augmentation of a whole batch, against one image at a time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpsearch.streams import generator
from hpsearch.tasks import augmentation
from hpsearch.tasks.augmentation import Augmentation, padding_for


def images_of(number, channels, height, width):
    return torch.randint(0, 256, (number, channels, height, width), dtype=torch.uint8, generator=generator(0, "pixels"))


def one_at_a_time(augment, images, draws):
    """The slow twin: pixel by pixel from the definitions."""
    found = []
    _, channels, height, width = images.shape
    for image, (down, right, flip, row, column) in zip(images, draws.tolist(), strict=True):
        moved = torch.zeros_like(image)
        for y in range(height):
            for x in range(width):
                from_y, from_x = y + down - augment.padding, x + right - augment.padding
                if 0 <= from_y < height and 0 <= from_x < width:
                    moved[:, y, x] = image[:, from_y, from_x]
        if flip:
            moved = torch.stack([moved[:, :, width - 1 - x] for x in range(width)], 2)
        top, left = row - augment.cutout // 2, column - augment.cutout // 2
        for y in range(max(0, top), min(height, top + augment.cutout)):
            for x in range(max(0, left), min(width, left + augment.cutout)):
                moved[:, y, x] = torch.tensor(augment.fill, dtype=torch.uint8)
        found.append(moved)
    return torch.stack(found)


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(1, 12),
    channels=st.sampled_from([1, 3]),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    padding=st.integers(0, 3),
    flip=st.booleans(),
    cutout=st.integers(0, 9),
    seed=st.integers(0, 100),
)
def test_a_batch_is_as_one_image_after_another(number, channels, height, width, padding, flip, cutout, seed):
    augment = Augmentation(padding, flip, cutout, (125, 7, 255)[:channels])
    images = images_of(number, channels, height, width)
    before = images.clone()
    changed = augment(images, generator(seed, "test"))
    draws = augment.draw(number, height, width, generator(seed, "test"))
    assert torch.equal(changed, one_at_a_time(augment, images, draws))
    assert torch.equal(images, before) and changed.dtype == torch.uint8


def test_more_images_than_a_block_holds(monkeypatch):
    augment = Augmentation(2, True, 3, (9, 9, 9))
    images = images_of(100, 3, 8, 8)
    whole = augment(images, generator(0, "test"))
    monkeypatch.setattr(augmentation, "BLOCK_CPU", 7)
    assert torch.equal(augment(images, generator(0, "test")), whole)
    draws = augment.draw(100, 8, 8, generator(0, "test"))
    assert torch.equal(whole, one_at_a_time(augment, images, draws))


def test_slices_and_other_layouts_will_do():
    augment = Augmentation(2, True, 0, ())
    images = images_of(20, 3, 8, 8)
    shifted = torch.cat([images_of(3, 3, 8, 8), images])[3:]
    last = images.contiguous(memory_format=torch.channels_last)
    for other in (shifted, last):
        assert torch.equal(augment(other, generator(0, "test")), augment(images, generator(0, "test")))


def test_every_window_flip_and_centre_is_drawn_as_often():
    draws = Augmentation(4, True, 8, (0,)).draw(81_000, 32, 28, generator(0, "test"))
    windows = torch.bincount(draws[:, 0] * 9 + draws[:, 1])
    assert len(windows) == 81 and 850 < windows.min() and windows.max() < 1150  # 1000 expected, a deviation of 32
    assert abs(float(draws[:, 2].double().mean()) - 0.5) < 0.01
    for column, end in ((3, 32), (4, 28)):
        counts = torch.bincount(draws[:, column]).double() / 81_000 * end
        assert len(counts) == end and 0.9 < counts.min() and counts.max() < 1.1


def test_what_is_off_changes_nothing():
    images = images_of(4, 1, 6, 6)
    assert Augmentation(0, False, 0, (1,))(images, generator(0, "test")) is images
    flips = Augmentation(0, True, 0, (1,))(images, generator(0, "test"))
    assert all(torch.equal(f, i) or torch.equal(f, i.flip(-1)) for f, i in zip(flips, images, strict=True))


def test_cutout_leaves_crops_and_flips_as_they_were():
    images = images_of(50, 3, 16, 16)
    without = Augmentation(2, True, 0, (1, 2, 3))(images, generator(0, "test"))
    cut = Augmentation(2, True, 6, (1, 2, 3))(images, generator(0, "test"))
    outside = (cut == without).all(1)
    inside = (cut == torch.tensor([1, 2, 3]).view(1, 3, 1, 1)).all(1)
    assert (outside | inside).all()
    assert int(inside.sum(dim=(1, 2)).max()) == 36 and int(inside.sum(dim=(1, 2)).min()) >= 9  # a corner: 3 by 3


def test_draws_depend_on_the_generator_alone():
    images, augment = images_of(50, 3, 8, 8), Augmentation(1, True, 4, (0, 0, 0))
    torch.manual_seed(1)
    first = augment(images, generator(3, "augmentation", 0))
    torch.manual_seed(2)
    assert torch.equal(augment(images, generator(3, "augmentation", 0)), first)
    assert not torch.equal(augment(images, generator(3, "augmentation", 1)), first)


@pytest.mark.parametrize(("side", "padding"), [(32, 4), (28, 4), (64, 8), (96, 12), (8, 1), (3, 1)])
def test_padding_is_in_proportion(side, padding):
    assert padding_for(side) == padding


@pytest.mark.gpu
def test_a_gpu_gives_the_same_images():
    images, augment = images_of(500, 3, 32, 32), Augmentation(4, True, 16, (125, 123, 114))
    found = augment(images.cuda(), generator(0, "test"))
    assert found.is_cuda and torch.equal(found.cpu(), augment(images, generator(0, "test")))
