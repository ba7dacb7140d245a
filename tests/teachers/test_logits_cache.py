"""A teacher that draws nothing is asked once, and what it said then has the bits that it would have
at any other time."""

from __future__ import annotations

import os
from pathlib import Path
from threading import current_thread
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kdray.core import parse, seeds
from kdray.data import Augmentation, Digits, Split, Views
from kdray.data.augmentation import Augment
from kdray.machine.node_cache import NotShared
from kdray.machine.node_cache.rows import Index, Table
from kdray.methods import Batch, EpochViews, Teacher
from kdray.models import MLP, Classifier, Model, WideResNet, build, fit
from kdray.models.base import Network, Outputs
from kdray.perturbations import SignalDependent
from kdray.teachers import Supervision, TeacherOracle
from kdray.teachers import logits_cache as answers
from kdray.training.compute import computing_in
from tests.small_trials import (
    CPU,
    NOWHERE,
    assert_same_bits,
    description,
    distillation,
    do,
    store_in,
    stored,
)

DATA = Digits(examples=150)
IMAGES = 90
SIZE = 32


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tables are."""
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path))
    return tmp_path / f"kdray-{os.geteuid()}"


def network(model: Model, seed: int = 1) -> Classifier:
    classifier = build(model, DATA, fit(DATA, DATA.load(NOWHERE)), seed=seed)
    images = torch.rand(20, 1, 8, 8, generator=seeds.generator(0, "model"))
    classifier.train().logits(images)  # batch norm gets statistics of its own
    return classifier.eval()


WIDE, WIDER = WideResNet(depth=10, width=1), WideResNet(depth=10, width=2)


class Counting(Network):
    """Notes how many images it was asked for, empty ones too."""

    def __init__(self, inner: Network) -> None:
        super().__init__()
        self.inner, self.asked = inner, 0

    def forward(self, images: Tensor) -> Outputs:
        self.asked += len(images)
        outputs: Outputs = self.inner(images)
        return outputs


def counting(model: Model = WIDE) -> tuple[Classifier, Counting]:
    classifier = network(model)
    counter = Counting(classifier.network)
    classifier.network = counter
    return classifier, counter


def split() -> Split:
    return DATA.load(NOWHERE).train


def views(epoch: int, augment: Augment = "crop_flip", seed: int = 0) -> Views:
    draws = [seeds.generator(seed, stream, epoch) for stream in ("data_order", "augmentation")]
    return Views.drawn(IMAGES, Augmentation(augment, 8), order=draws[0], draws=draws[1])


def oracle(
    classifier: Classifier, name: str | None = "teacher", **supervision: Any
) -> TeacherOracle:
    return TeacherOracle(parse(Supervision, supervision), classifier, classes=10, seed=0, name=name)


class Told(NamedTuple):
    """Of an epoch, in the order of the split."""

    logits: Tensor
    gradients: Tensor | None


def epoch(
    asked: TeacherOracle,
    number: int,
    augment: Augment = "crop_flip",
    *,
    seed: int = 0,
    gradients: bool = False,
    known: bool = True,
    labels: Tensor | None = None,
    resampled: bool = False,
    temperature: float = 3.0,
) -> Told:
    """What a method is told in batches of ``SIZE``."""
    labels = split().labels if labels is None else labels
    shown = views(number, augment, seed)
    teacher = asked.epoch(
        number, views=EpochViews(split(), shown, None if resampled else labels) if known else None
    )
    order, found = [], []
    for at, position, images in shown.batches(split(), SIZE):
        order.append(position)
        batch = Batch(images, images, labels[position], at)
        found.append(
            teacher.with_gradient(batch, temperature=temperature)
            if gradients
            else (teacher.logits(batch, temperature=temperature), None)
        )
    back = torch.cat(order).argsort()
    logits, slopes = zip(*found, strict=True)
    return Told(torch.cat(logits)[back], torch.cat(slopes)[back] if gradients else None)


# The same numbers


@pytest.mark.parametrize(
    "model", [WIDE, WIDER, MLP(hidden=(32,))], ids=lambda m: f"{m.name}-{getattr(m, 'width', '')}"
)
@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_an_answer_has_the_same_bits_whatever_was_known_before(
    model: Model, augment: Augment
) -> None:
    cold = epoch(oracle(network(model), "cold"), 3, augment)
    warm = oracle(network(model), "warm")
    for earlier, seed in (
        (0, 1),
        (3, 0),
        (1, 0),
    ):  # other views, in another order, and some of the same
        epoch(warm, earlier, augment, seed=seed)
    assert torch.equal(epoch(warm, 3, augment).logits, cold.logits)
    assert torch.equal(
        epoch(oracle(network(model), None), 3, augment).logits, cold.logits
    )  # nothing is kept


def test_an_answer_has_the_same_bits_whoever_computes_it_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(answers.LOGITS_AT_ONCE, "cpu", 16)
    expected = epoch(oracle(network(WIDE), "one"), 0).logits
    monkeypatch.setattr(os, "getpid", lambda: 12_345_679)
    assert torch.equal(epoch(oracle(network(WIDE), "other"), 0).logits, expected)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("window", [1, 2000, 10**6])
def test_answers_may_be_taken_out_in_small_parts(
    window: int, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epoch(oracle(network(WIDE)), 0).logits
    monkeypatch.setattr(answers, "WINDOW", window)
    monkeypatch.setitem(answers.READS_AHEAD, "cpu", ahead)
    for name in ("teacher", None):
        assert torch.equal(epoch(oracle(network(WIDE), name), 0).logits, expected)


@pytest.mark.parametrize(("ahead", "asked"), [(False, []), (True, [(32, 64), (64, 90)])])
def test_where_a_device_works_meanwhile_the_next_part_is_read_ahead(
    *, ahead: bool, asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    table_read = Table.read

    def noting(table: Table, index: Index) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        read.append((current_thread().name, len(index)))
        return table_read(table, index)

    monkeypatch.setattr(Table, "read", noting)
    monkeypatch.setattr(answers, "WINDOW", 4 * 10 * 50)
    monkeypatch.setitem(answers.READS_AHEAD, "cpu", ahead)
    epoch(oracle(network(WIDE)), 0)
    assert [size for _, size in read] == [32, 32, 26]  # each part once
    assert [size for name, size in read if name != "MainThread"] == [b - a for a, b in asked]


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_known_logits_are_those_of_the_network(augment: Augment) -> None:
    direct = epoch(oracle(network(WIDE)), 0, augment, known=False)
    known = epoch(oracle(network(WIDE)), 0, augment)
    assert not torch.equal(direct.logits, torch.zeros_like(direct.logits))
    torch.testing.assert_close(known.logits, direct.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_known_gradients_are_those_of_the_network(augment: Augment) -> None:
    direct = epoch(oracle(network(WIDE)), 0, augment, known=False, gradients=True)
    known = epoch(oracle(network(WIDE)), 0, augment, gradients=True)
    assert direct.gradients is not None
    assert direct.gradients.abs().amax((1, 2, 3)).min() > 1e-4
    torch.testing.assert_close(known.gradients, direct.gradients, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(known.logits, direct.logits, rtol=0, atol=1e-5)
    again = epoch(oracle(network(WIDE)), 0, augment, gradients=True)
    alone = epoch(oracle(network(WIDE), None), 0, augment, gradients=True)
    for other in (again, alone):
        assert torch.equal(other.gradients, known.gradients)  # type: ignore[arg-type]


def test_noise_on_known_logits_is_drawn_as_on_others() -> None:
    noise = [{"name": "signal_dependent", "sigma": 0.3}]
    plain = epoch(oracle(network(WIDE)), 0).logits
    noisy = epoch(oracle(network(WIDE), noise=noise), 0).logits
    direct = epoch(oracle(network(WIDE), noise=noise), 0, known=False).logits
    torch.testing.assert_close(noisy, direct, rtol=0, atol=2e-5)
    draws = seeds.generator(0, "supervision", 0, 0, 0)
    first = views(0).position[:SIZE]
    expected = SignalDependent(sigma=0.3)(plain[first], 3.0, draws)
    assert torch.equal(noisy[first], expected)


# Asked once


@pytest.mark.parametrize(
    ("augment", "variants"), [("none", 1), ("flip", 2), ("crop", 9), ("crop_flip", 18)]
)
def test_a_view_is_asked_for_once(augment: Augment, variants: int) -> None:
    classifier, counter = counting()
    asked = oracle(classifier)
    seen: set[tuple[int, int]] = set()
    for number in range(4):
        shown = set(zip(*(part.tolist() for part in views(number, augment)[1:]), strict=True))
        before = counter.asked
        epoch(asked, number, augment)
        new = shown - seen
        assert counter.asked - before <= max(0, len(new)) + IMAGES * (
            len(new) > 0
        )  # a batch that is not full counts whole
        assert (counter.asked > before) == (len(new) > 0)
        seen |= shown
    assert len(seen) <= variants * IMAGES
    other, counter = counting()
    for number in range(4):
        epoch(oracle(other), number, augment)
    assert counter.asked == 0  # by another trial


def test_the_first_epoch_costs_no_more_than_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answers.LOGITS_AT_ONCE, "cpu", 30)
    for name in ("teacher", None):
        classifier, counter = counting()
        epoch(oracle(classifier, name), 0)
        assert counter.asked == IMAGES


def test_gradients_are_asked_for_once_at_each_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(answers.GRADIENTS_AT_ONCE, "cpu", 30)
    classifier, counter = counting()
    asked = oracle(classifier)
    epoch(asked, 0, "flip", gradients=True)
    epoch(asked, 1, "flip", gradients=True)
    epoch(asked, 2, "flip", gradients=True)
    before = counter.asked
    assert not torch.equal(
        epoch(asked, 0, "flip", gradients=True).gradients,  # type: ignore[arg-type]
        epoch(asked, 0, "flip", gradients=True, temperature=1.0).gradients,  # type: ignore[arg-type]
    )
    assert counter.asked == before + IMAGES  # the second temperature's


@pytest.mark.parametrize(
    "fields",
    [{"augment": "crop"}, {"augment": "crop_flip"}, {"resampled": True}, {"noise": True}],
    ids=str,
)
def test_gradients_that_are_many_or_never_the_same_are_computed_every_time(
    fields: dict[str, Any],
) -> None:
    noise = [{"name": "signal_dependent", "sigma": 0.1}] if fields.pop("noise", False) else []
    classifier, counter = counting()
    asked = oracle(classifier, noise=noise)
    for _ in range(2):
        before = counter.asked
        told = epoch(asked, 0, **{"augment": "none", **fields}, gradients=True)
        assert counter.asked - before == IMAGES
        assert told.gradients is not None


def test_gradients_of_other_labels_are_others() -> None:
    one = epoch(oracle(network(WIDE)), 0, "none", gradients=True)
    other = epoch(
        oracle(network(WIDE)), 0, "none", gradients=True, labels=(split().labels + 1) % 10
    )
    assert torch.equal(one.logits, other.logits)
    assert not torch.equal(one.gradients, other.gradients)  # type: ignore[arg-type]


# Never


@pytest.mark.parametrize(
    ("model", "supervision"),
    [
        (WideResNet(depth=10, width=1, dropout=0.3), {"dropout": "active"}),
        (WIDE, {"smoothing": {"samples": 3, "sigma": 0.1}}),
        (WideResNet(depth=10, width=1, input_sigma=0.1), {}),
        (WideResNet(depth=10, width=1, input_sigma=0.1), {"smoothing": {"samples": 3}}),
        (
            parse(
                WideResNet,
                {"name": "wide_resnet", "depth": 10, "width": 1, "weight_noise": {"name": "cni"}},
            ),
            {},
        ),
    ],
    ids=["fickle", "smoothed", "noisy input", "smoothed noisy input", "noisy weights"],
)
def test_a_teacher_that_draws_is_asked_every_time_and_never_kept(
    model: Model, supervision: dict[str, Any], folder: Path
) -> None:
    classifier = network(model)
    asked = oracle(classifier, **supervision)
    first, second = (epoch(asked, number, "none").logits for number in (0, 1))
    assert not torch.allclose(first, second, rtol=0, atol=1e-4)
    assert not folder.exists()


def test_dropout_that_is_off_is_no_draw(folder: Path) -> None:
    epoch(oracle(network(WideResNet(depth=10, width=1, dropout=0.3))), 0)
    assert len(list(folder.glob("*.table"))) == 1


def test_images_that_nobody_sees_again_are_not_kept(folder: Path) -> None:
    teacher = oracle(network(WIDE)).epoch(0, views=EpochViews(split(), views(0), split().labels))
    images = torch.rand(5, 1, 8, 8)
    perturbed = Batch(images, images, torch.zeros(5, dtype=torch.long))
    assert torch.equal(teacher.logits(perturbed, temperature=1.0), network(WIDE).logits(images))
    assert not folder.exists()


# What tells answers apart


def test_whatever_an_answer_depends_on_tells_it_from_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(
        classifier: Classifier, name: str = "teacher", augment: Augment = "none", brighter: int = 0
    ) -> int:
        """How many tables there are then."""
        images = split().images + brighter
        brightened = Split(images, split().labels)
        shown = EpochViews(brightened, views(0, augment), split().labels)
        teacher: Teacher = oracle(classifier, name).epoch(0, views=shown)
        (first, *_) = shown.views.batches(brightened, SIZE)
        teacher.logits(
            Batch(first.images, first.images, split().labels[first.position], first.at),
            temperature=1.0,
        )
        return len(list(folder.glob("*.table")))

    assert ask(network(WIDE)) == 1
    assert ask(network(WIDE)) == 1
    assert ask(network(WIDE), name="another trial") == 2
    assert ask(network(WIDE, seed=2)) == 3
    assert ask(network(WIDE), augment="flip") == 4
    assert ask(network(WIDE), brighter=1) == 5
    with torch.no_grad():
        altered = network(WIDE)
        next(altered.buffers()).add_(1e-3)
    assert ask(altered) == 6
    torch.set_num_threads(2)
    try:
        assert ask(network(WIDE)) == 7
    finally:
        torch.set_num_threads(1)
    monkeypatch.setattr("kdray.teachers.oracle.code", lambda *_: "other code")
    assert ask(network(WIDE)) == 8
    with computing_in("bfloat16", CPU):
        assert ask(network(WIDE)) == 9


# In a trial


@pytest.fixture
def kd() -> dict[str, Any]:
    return {
        "model": {"name": "mlp", "hidden": [8]},
        "teacher": description(model={"name": "wide_resnet", "depth": 10, "width": 1}),
        "data": {"name": "digits", "examples": 300, "augment": "crop_flip"},
        "supervision": {"noise": [{"name": "signal_dependent", "sigma": 0.2}]},
    }


@pytest.mark.parametrize(
    "method", [{"name": "kd"}, {"name": "robust_student"}, {"name": "fitnet", "hint_epochs": 1}]
)
def test_a_trial_is_the_same_cold_warm_without_a_cache_and_with_a_damaged_one(
    method: dict[str, Any],
    kd: dict[str, Any],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if method["name"] == "robust_student":
        kd |= {"data": {"name": "digits", "examples": 300, "augment": "flip"}, "supervision": {}}
    if method["name"] == "fitnet":
        kd |= {"model": {"name": "wide_resnet", "depth": 10, "width": 1}}
    student = distillation(**kd, method=method)
    assert student.teacher is not None

    def table(where: str) -> dict[str, Any]:
        store = store_in(tmp_path / where)
        for described in (student.teacher, student):
            assert described is not None
            assert do(described, store)[-1].outcome == "completed"
        return stored(store, student.trial_id)

    cold = table("cold")
    tables = list(folder.glob("*.table"))
    assert len(tables) == 2 if method["name"] == "robust_student" else 1
    assert_same_bits(cold, table("warm"))
    for path in tables:
        content = bytearray(path.read_bytes())
        content[len(content) // 3 :: 97] = bytes(len(content[len(content) // 3 :: 97]))
        path.write_bytes(content)
    assert_same_bits(cold, table("damaged"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "file"))
    with pytest.warns(NotShared):
        assert_same_bits(cold, table("alone"))


def test_the_log_says_what_was_new_to_the_teacher(kd: dict[str, Any], tmp_path: Path) -> None:
    store = store_in(tmp_path / "results")
    student = distillation(**kd)
    assert student.teacher is not None
    do(student.teacher, store)
    do(student, store)
    (log,) = (path.read_text() for path in tmp_path.glob(f"results/logs/{student.trial_id}*"))
    assert "180 of 180 views were new to the teacher" in log
