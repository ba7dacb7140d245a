from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdray.core import InputError
from kdray.data import (
    Augmentation,
    Digits,
    Examples,
    Split,
    Views,
    augmentation,
    data_root,
    to_unit,
)
from kdray.data.augmentation import Augment, crop
from kdray.data.base import _fit
from kdray.data.splits import sample, stratified

PIXELS = torch.arange(256, dtype=torch.uint8)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int = 23, channels: int = 2, side: int = 8) -> Split:
    """Images without two equal ones, none with a zero pixel, labelled by their position."""
    images = torch.randint(
        1, 256, (count, channels, side, side), generator=draws(9), dtype=torch.uint8
    )
    return Split(images, torch.arange(count))


def epoch(
    split: Split, size: int = 5, augment: Augment = "none", order: int = 0, augmentation: int = 1
) -> list[Examples]:
    what = Augmentation(augment, split.images.shape[2])
    views = Views.drawn(len(split.labels), what, order=draws(order), draws=draws(augmentation))
    return list(views.batches(split, size))


def positions(examples: list[Examples]) -> Tensor:
    return torch.cat([batch.position for batch in examples])


def images(examples: list[Examples]) -> Tensor:
    """Of one epoch, in the split's order."""
    return torch.cat([batch.images for batch in examples])[positions(examples).argsort()]


# Pixels


def test_pixels_become_fractions() -> None:
    assert to_unit(PIXELS).dtype == torch.float32
    assert torch.equal(to_unit(PIXELS), torch.arange(256) / 255)
    assert PIXELS[-1] == 255  # the pixels themselves stay


def test_grey_is_the_luma_of_itu_r_601() -> None:
    colours = torch.tensor(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], dtype=torch.uint8
    )
    fitted = _fit(Split(colours.view(5, 3, 1, 1).expand(-1, -1, 8, 8), torch.arange(5)), (1, 8, 8))
    assert fitted.images[:, 0, 0, 0].tolist() == [76, 150, 29, 255, 18]
    assert fitted.images.shape == (5, 1, 8, 8)


@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12), share=st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_a_sample_holds_every_class_in_proportion_and_grows_with_its_size(
    sizes: list[int], share: float
) -> None:
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    count = max(1, int(share * len(labels)))
    chosen = sample(labels, count)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    wanted = torch.tensor(sizes) * count / len(labels)
    assert (labels[chosen].bincount(minlength=len(sizes)) - wanted).abs().max() <= 2
    assert set(chosen.tolist()) <= set(sample(labels, count + 1).tolist())


def test_of_a_thousand_classes_a_sample_of_a_hundred_is_not_the_first_hundred() -> None:
    labels = torch.arange(1000).repeat_interleave(5)
    chosen = labels[sample(labels, 100)]
    assert len(chosen.unique()) == 100
    assert 300 < chosen.double().mean() < 700


def test_a_sample_is_the_same_in_every_process() -> None:
    """Frozen: evaluations are compared over years."""
    assert sample(torch.arange(3).repeat_interleave(10), 7).tolist() == [3, 7, 11, 18, 23, 26, 28]


def test_a_sample_of_all_or_more_is_the_split_as_it_is() -> None:
    split = numbered()
    assert split.sample(None) is split
    assert torch.equal(split.sample(10**6).images, split.images)


def test_a_split_takes_its_first_examples_or_some_by_index() -> None:
    split = numbered()
    assert split.first(None) is split
    assert split.first(3).labels.tolist() == [0, 1, 2]
    assert torch.equal(split.take(torch.tensor([4, 2])).images, split.images[[4, 2]])


@pytest.mark.parametrize(
    ("size", "least", "sizes"),
    [
        (11, 1, [11, 11, 1]),
        (11, 2, [11, 12]),
        (7, 2, [7, 7, 7, 2]),
        (7, 3, [7, 7, 9]),
        (22, 2, [23]),
        (40, 30, [23]),
    ],
)
def test_a_last_batch_that_is_too_small_is_part_of_the_one_before_it(
    size: int, least: int, sizes: list[int]
) -> None:
    split = numbered()
    views = Views.drawn(23, Augmentation("none", 8), order=draws(0), draws=draws(1))
    listed = list(views.batches(split, size, least=least))
    assert [len(batch.position) for batch in listed] == sizes
    assert torch.equal(torch.cat([batch.position for batch in listed]), views.position)


def test_the_data_folder_is_the_chosen_one_or_the_environments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KDRAY_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root("relative") == Path.cwd() / "relative"
    monkeypatch.delenv("KDRAY_DATA")
    assert data_root() == Path.home() / ".cache" / "kdray"
    assert data_root("~/x") == Path(os.path.expanduser("~/x"))  # noqa: PTH111


# Stratified splits


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6).filter(
        lambda counts: sum(counts) > 1
    ),
    data=st.data(),
)
def test_a_stratified_part_has_its_size_and_every_class_in_proportion(
    counts: list[int], data: st.DataObject
) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=draws(0))]
    count = data.draw(st.integers(1, len(labels) - 1))
    rest, part = stratified(labels, count, salt="x")
    assert len(part) == count
    assert sorted([*rest.tolist(), *part.tolist()]) == list(range(len(labels)))
    assert rest.tolist() == sorted(rest.tolist())
    assert part.tolist() == sorted(part.tolist())
    share = labels[part].bincount(minlength=len(counts)) - torch.tensor(counts) * count / len(
        labels
    )
    assert (share.abs() < 1 + 1e-5).all()


def test_what_rounding_leaves_goes_to_the_largest_remainders() -> None:
    labels = torch.arange(3).repeat_interleave(torch.tensor([6, 5, 1]))
    _, part = stratified(labels, 5, salt="x")  # shares 2.5, 2.083, 0.417
    assert labels[part].bincount(minlength=3).tolist() == [3, 2, 0]


def test_another_salt_is_another_part_and_the_same_salt_the_same() -> None:
    labels = torch.zeros(200, dtype=torch.long)
    assert torch.equal(stratified(labels, 50, salt="a")[1], stratified(labels, 50, salt="a")[1])
    shared = set(stratified(labels, 50, salt="a")[1].tolist()) & set(
        stratified(labels, 50, salt="b")[1].tolist()
    )
    assert len(shared) < 30


def test_a_larger_part_of_one_class_holds_the_smaller_one() -> None:
    labels = torch.zeros(200, dtype=torch.long)
    assert set(stratified(labels, 50, salt="a")[1].tolist()) < set(
        stratified(labels, 80, salt="a")[1].tolist()
    )


@pytest.mark.parametrize("count", [-1, 0, 10, 11])
def test_a_part_that_is_nothing_or_everything_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"a part of {count} images cannot be split off 10"):
        stratified(torch.zeros(10, dtype=torch.long), count, salt="x")


# Batches


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_an_epoch_holds_every_example_once(augment: str) -> None:
    examples = epoch(numbered(), augment=augment)
    assert positions(examples).sort().values.tolist() == list(range(23))
    assert [len(batch.position) for batch in examples] == [5, 5, 5, 5, 3]
    assert all(batch.images.shape == (len(batch.position), 2, 8, 8) for batch in examples)


def test_without_augmentation_images_are_those_at_their_position() -> None:
    split = numbered()
    for batch in epoch(split):
        assert torch.equal(batch.images, split.images[batch.position] / 255)


def test_a_batch_larger_than_the_split_is_the_split() -> None:
    assert [len(batch.position) for batch in epoch(numbered(), size=100)] == [23]


@pytest.mark.parametrize("at_once", [1, 2 * 5 * 128, 10**6])
def test_an_epoch_is_the_same_however_many_batches_are_augmented_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epoch(numbered(), augment="crop_flip")
    monkeypatch.setitem(augmentation.AUGMENTED_AT_ONCE, "cpu", at_once)
    for batch, same in zip(epoch(numbered(), augment="crop_flip"), expected, strict=True):
        assert batch.at == same.at
        assert torch.equal(batch.position, same.position)
        assert torch.equal(batch.images, same.images)


def test_equal_generators_give_equal_epochs() -> None:
    one, other = (epoch(numbered(), augment="crop_flip") for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.position, b.position)
        assert torch.equal(a.images, b.images)


def test_order_and_augmentation_are_drawn_apart() -> None:
    split = numbered()
    same, reordered = epoch(split, augment="crop_flip"), epoch(split, augment="crop_flip", order=5)
    augmented = epoch(split, augment="crop_flip", augmentation=5)
    assert not torch.equal(positions(same), positions(reordered))
    assert torch.equal(
        images(same), images(reordered)
    )  # an image's augmentation does not depend on its place
    assert torch.equal(positions(same), positions(augmented))
    assert not torch.equal(images(same), images(augmented))


def test_neither_batch_size_nor_kind_of_augmentation_changes_the_other_draws() -> None:
    split = numbered()
    assert torch.equal(
        positions(epoch(split, size=5)), positions(epoch(split, size=7, augment="crop"))
    )
    assert torch.equal(images(epoch(split, 5, "crop")), images(epoch(split, 7, "crop")))
    both, flipped = images(epoch(split, augment="crop_flip")), images(epoch(split, augment="flip"))
    cropped = images(epoch(split, augment="crop"))
    turned = (flipped != to_unit(split.images)).flatten(1).any(1)
    assert torch.equal(both, torch.where(turned.view(-1, 1, 1, 1), cropped.flip(3), cropped))


def test_about_half_of_the_images_are_flipped_left_to_right() -> None:
    split = numbered(400)
    found, unit = images(epoch(split, augment="flip")), to_unit(split.images)
    same, turned = ((found == other).flatten(1).all(1) for other in (unit, unit.flip(3)))
    assert torch.equal(same, ~turned)
    assert 160 < int(turned.sum()) < 240  # four standard deviations


def test_crops_are_of_images_padded_by_an_eighth() -> None:
    split = numbered(600, channels=1, side=16)
    found, unit = (
        images(epoch(split, augment="crop")),
        torch.nn.functional.pad(to_unit(split.images), (2, 2, 2, 2)),
    )
    windows = unit.unfold(2, 16, 1).unfold(
        3, 16, 1
    )  # image, channel, row shift, column shift, row, column
    match = (windows == found[:, :, None, None]).flatten(4).all(4)[:, 0]
    assert match.flatten(1).sum(1).tolist() == [1] * 600
    used = match.sum(0)
    assert used.shape == (5, 5)
    assert used.min() > 5  # 24 expected of each
    assert used.max() < 48


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    pad=st.integers(0, 3),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_a_crop_is_the_window_at_its_shift(
    height: int, width: int, pad: int, channels: int, seed: int
) -> None:
    source = torch.randint(
        1, 256, (4, channels, height, width), generator=draws(seed), dtype=torch.uint8
    )
    shifts = torch.randint(0, 2 * pad + 1, (4, 2), generator=draws(seed + 1))
    found = crop(source, pad, shifts)
    assert found.is_contiguous()
    for image in range(4):
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    y = row + int(shifts[image, 0]) - pad
                    x = column + int(shifts[image, 1]) - pad
                    inside = 0 <= y < height and 0 <= x < width
                    expected = source[image, channel, y, x] if inside else 0
                    assert found[image, channel, row, column] == expected


def test_the_crop_at_the_centre_is_the_image() -> None:
    split = numbered()
    for pad in (0, 1, 4):
        assert torch.equal(crop(split.images, pad, torch.full((23, 2), pad)), split.images)


def test_images_smaller_than_8_pixels_are_cropped_nowhere() -> None:
    split = numbered(side=7)
    assert torch.equal(images(epoch(split, augment="crop")), to_unit(split.images))


def test_loaded_images_are_not_changed_by_augmenting_them() -> None:
    train = Digits().load(Path()).train
    before = train.images.clone()
    epoch(train, size=500, augment="crop_flip")
    assert torch.equal(train.images, before)
