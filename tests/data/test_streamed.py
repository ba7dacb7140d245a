"""Images that a device has no room for stay in main memory, and no number tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdray.data import Augmentation, Dataset, Digits, Split, Views
from kdray.machine import hardware
from kdray.results import Store
from kdray.robustness.base import blocks
from kdray.trials.experiment import Experiment
from kdray.trials.log import log_file
from tests.small_trials import (
    NOWHERE,
    assert_same_bits,
    description,
    distillation,
    do,
    store_in,
    stored,
)

META = torch.device("meta")
"""Here any device that is not main memory: torch computes shapes on it."""
SUITE = (
    {"name": "clean"},
    {"name": "pgd", "label": "pgd", "steps": 2, "epsilon": 0.05, "examples": 20, "split": "val"},
)


def dataset() -> Dataset:
    return Digits(examples=150).load(NOWHERE)


def test_images_stay_where_they_are_and_batches_are_on_the_device() -> None:
    held = dataset()
    there = held.to(META, streamed=True)
    assert there.train.streamed
    assert (there.train.device, there.train.images.device.type) == (META, "cpu")
    assert there.train.images.data_ptr() == held.train.images.data_ptr()
    assert not held.to(META).train.streamed
    views = Views.drawn(
        len(there.train.labels),
        Augmentation("crop_flip", 8),
        order=torch.Generator(),
        draws=torch.Generator(),
    )
    shapes = []
    for batch in views.batches(there.train, 32):
        assert (batch.images.device, batch.position.device) == (META, META)
        shapes.append(tuple(batch.images.shape))
    assert shapes == [(32, 1, 8, 8), (32, 1, 8, 8), (26, 1, 8, 8)]
    assert {block.images.device for block in blocks(there.test)} == {META}
    part = there.train.take(torch.tensor([3, 1]))
    assert torch.equal(part.images, held.train.images[[3, 1]])
    assert part.streamed


def test_the_next_images_are_on_their_way_before_the_last_ones_are_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied = Split._copied
    begun: list[int] = []

    def noted(split: Split, position: Tensor) -> Tensor:
        begun.append(len(position))
        return copied(split, position)

    monkeypatch.setattr(Split, "_copied", noted)
    split, parts = dataset().train.to(META, streamed=True), [slice(0, 4), slice(4, 6), slice(6, 9)]
    reading = split.read(torch.arange(9), parts)
    assert [(len(next(reading)), list(begun)) for _ in parts] == [
        (4, [4, 2]),
        (2, [4, 2, 3]),
        (3, [4, 2, 3]),
    ]
    assert list(reading) == []
    assert list(split.read(torch.arange(9), [])) == []


@pytest.mark.parametrize("room", [1 << 40, 1000], ids=["room", "none"])
def test_a_trial_has_the_same_bits_whether_its_images_fit(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmented = description(data={"name": "digits", "examples": 300, "augment": "crop_flip"})
    described = distillation(data=augmented["data"], teacher=augmented)
    plain, other = store_in(tmp_path / "plain"), store_in(tmp_path / "other")
    trained(described, plain, tmp_path / "cache 1", monkeypatch)
    # What is computed on is main memory here too.
    monkeypatch.setattr(hardware, "room", lambda *_: room)
    monkeypatch.setattr(
        Dataset,
        "to",
        lambda held, _, *, streamed: _streamed_in_main_memory(held) if streamed else held,
    )
    trained(described, other, tmp_path / "cache 2", monkeypatch)
    assert_same_bits(stored(plain, described.trial_id), stored(other, described.trial_id))
    said = (tmp_path / "other" / log_file(described.trial_id)).read_text()
    assert ("stay in main memory" in said) == (room == 1000)


def trained(
    described: Experiment, store: Store, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train and measure the teacher and the student, with a cache of its own."""
    monkeypatch.setenv("KDRAY_CACHE", str(cache))
    assert isinstance(described.teacher, Experiment)
    for each, role in ((described.teacher, "teacher"), (described, "student")):
        assert do(each, store, *SUITE, role=role)[-1].outcome == "completed"


class _Streamed(Split):
    """A split that is streamed from main memory to main memory."""

    streamed = True


def _streamed_in_main_memory(held: Dataset) -> Dataset:
    train, val, test = (_Streamed(*split) for split in (held.train, held.val, held.test))
    return held._replace(train=train, val=val, test=test)
