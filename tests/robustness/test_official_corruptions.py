"""Published corrupted test sets: every image is counted under its kind and severity, and nothing in
a file is trusted."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.data import CIFAR10, CIFAR100, MNIST, USPS, Digits, ImageData, to_unit
from kdray.data.corrupted import BENCHMARKS
from kdray.data.splits import sample
from kdray.perturbations.corruptions import CORRUPTIONS
from kdray.robustness import Measurement, Subject, measurements
from kdray.robustness.official_corruptions import OfficialCorruptions
from kdray.testing.samples import digits, trained_on_digits
from tests.tensors import Watched

EACH = 20
"""Images of each kind and severity: the first test digits, enlarged and the more noisy the higher
the severity."""
CIFAR, SMALL_MNIST = CIFAR10(resize=8, channels=1), MNIST(resize=8)


def noisy(side: int, channels: int, strength: float, seed: int) -> np.ndarray:
    """The first test digits, N x H x W x C, with noise of ``strength`` levels."""
    images = Digits(resize=side, channels=channels).test_split(Path()).images[:EACH]
    rng = np.random.default_rng(seed)
    pixels = images.permute(0, 2, 3, 1).numpy() + rng.normal(0, strength, (EACH, side, side, 1))
    return pixels.clip(0, 255).astype(np.uint8)


def labels() -> np.ndarray:
    found: np.ndarray = digits().test.labels[:EACH].numpy()
    return found


def write_cifar_c(
    root: Path, folder: str = "CIFAR-10-C", kinds: tuple[str, ...] = BENCHMARKS["cifar10"].kinds
) -> Path:
    place = root / folder
    place.mkdir(parents=True)
    for number, kind in enumerate(kinds):
        levels = [noisy(32, 3, 60 * severity, 10 * number + severity) for severity in range(5)]
        np.save(place / f"{kind}.npy", np.concatenate(levels))
    np.save(place / "labels.npy", np.tile(labels(), 5))
    return place


def write_mnist_c(root: Path, folder: str = "mnist_c") -> Path:
    for number, kind in enumerate((*BENCHMARKS["mnist"].kinds, "identity")):
        place = root / folder / kind
        place.mkdir(parents=True)
        np.save(place / "test_images.npy", noisy(28, 1, 0 if kind == "identity" else 100, number))
        np.save(place / "test_labels.npy", labels())
    return root / folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    write_cifar_c(place)
    write_mnist_c(place)
    return place


def evaluation(**fields: Any) -> OfficialCorruptions:
    return parse(OfficialCorruptions, {"name": "official_corruptions", **fields})


def measured(data: ImageData, root: Path, **fields: Any) -> list[Measurement]:
    subject = Subject(trained_on_digits(), digits().test.first(EACH), data=data, root=root)
    return measurements(evaluation(**fields), subject)


def as_the_model_takes_them(images: np.ndarray) -> Tensor:
    """Grey images, N x H x W x C, as 8 x 8 in [0, 1]."""
    grey = torch.from_numpy(images[..., :1]).permute(0, 3, 1, 2).float()
    return functional.interpolate(grey, (8, 8), mode="bilinear", antialias=True).round() / 255


def right(images: np.ndarray) -> int:
    return int(
        (
            trained_on_digits().logits(as_the_model_takes_them(images)).argmax(1).numpy()
            == labels()
        ).sum()
    )


CLEAN = int(
    (
        trained_on_digits().logits(to_unit(digits().test.images[:EACH])).argmax(1).numpy()
        == labels()
    ).sum()
)


def test_every_kind_is_counted_at_every_severity_with_its_means(root: Path) -> None:
    found = measured(CIFAR, root)
    by = {(m.metric, m.corruption, m.severity): m for m in found}
    assert len(by) == len(found) == 19 * (5 + 1 + 1) + 2
    everything = 0
    for kind in CORRUPTIONS:  # the names that the corruptions made here have
        images = np.load(root / "CIFAR-10-C" / f"{kind}.npy")
        counts = [right(images[EACH * level : EACH * (level + 1)]) for level in range(5)]
        assert [by["accuracy", kind, severity].correct for severity in (1, 2, 3, 4, 5)] == counts
        assert {by["accuracy", kind, severity].examples for severity in (1, 2, 3, 4, 5)} == {EACH}
        mean = by["accuracy", kind, None]
        assert (mean.correct, mean.examples) == (sum(counts), 5 * EACH)
        assert by["relative_accuracy", kind, None].value == pytest.approx(sum(counts) / 5 / CLEAN)
        everything += sum(counts)
    mean = by["mean_accuracy", None, None]
    assert (mean.correct, mean.examples) == (everything, 19 * 5 * EACH)
    assert by["mean_relative_accuracy", None, None].value == pytest.approx(everything / 95 / CLEAN)
    assert everything < 95 * CLEAN


def test_mnists_kinds_have_one_strength_and_identity_is_none_of_them(root: Path) -> None:
    found = measured(SMALL_MNIST, root)
    assert {m.severity for m in found} == {None}
    accuracies = [m for m in found if m.metric == "accuracy"]
    assert [m.corruption for m in accuracies] == list(BENCHMARKS["mnist"].kinds)
    assert len(found) == 15 + 15 + 2
    for m in accuracies:
        assert m.correct == right(np.load(root / "mnist_c" / str(m.corruption) / "test_images.npy"))
    (total,) = (m for m in found if m.metric == "mean_accuracy")
    assert (total.correct, total.examples) == (sum(m.correct or 0 for m in accuracies), 15 * EACH)


def test_the_images_as_they_are_lose_nothing(root: Path) -> None:
    accuracy, relative, *_ = measured(SMALL_MNIST, root, kinds=["identity"])
    assert accuracy.correct == right(np.load(root / "mnist_c" / "identity" / "test_images.npy"))
    assert relative.value == pytest.approx((accuracy.correct or 0) / CLEAN)


@pytest.mark.parametrize("data", [CIFAR, SMALL_MNIST], ids=["cifar", "mnist"])
def test_the_metrics_that_it_says_are_there_whatever_the_data(data: ImageData, root: Path) -> None:
    found = [m.metric for m in measured(data, root)]
    assert {name: found.count(name) for name in evaluation().metrics()} == evaluation().metrics()


def test_chosen_severities_are_shown_in_their_order_as_the_model_takes_them(root: Path) -> None:
    watched, images = Watched(), np.load(root / "CIFAR-10-C" / "fog.npy")
    subject = Subject(watched, digits().test.first(EACH), data=CIFAR, root=root)
    measurements(evaluation(kinds=["fog"], severities=[4, 2], examples=7), subject)
    clean, *corrupted = watched.shown
    assert torch.equal(clean, to_unit(digits().test.first(EACH).sample(7).images))
    chosen = sample(torch.from_numpy(labels()), 7).numpy()
    for severity, found in zip((4, 2), corrupted, strict=True):
        start = (severity - 1) * EACH
        assert torch.equal(found, as_the_model_takes_them(images[start + chosen]))


@pytest.mark.parametrize("pad", [0, 2])
def test_images_are_resized_and_padded_as_the_models_own(pad: int, root: Path) -> None:
    watched, data = Watched(), CIFAR10(resize=8 - 2 * pad, channels=1, pad=pad)
    subject = Subject(watched, digits().test.first(EACH), data=data, root=root)
    measurements(evaluation(kinds=["fog"], severities=[1]), subject)
    shown = watched.shown[1]
    assert shown.shape == (EACH, 1, 8, 8)
    inside = shown[:, :, pad : 8 - pad, pad : 8 - pad]
    assert float(inside.sum()) == pytest.approx(float(shown.sum()))
    assert float(inside.amax()) > 0.5


def test_relative_is_to_the_share_of_the_test_images_where_there_are_other_numbers_of_them(
    root: Path,
) -> None:
    subject = Subject(trained_on_digits(), digits().test, data=CIFAR, root=root)
    found = measurements(evaluation(kinds=["fog"]), subject)
    share = (
        trained_on_digits()
        .logits(to_unit(digits().test.images))
        .argmax(1)
        .eq(digits().test.labels)
        .float()
        .mean()
    )
    by = {(m.metric, m.severity): m.value for m in found}
    assert by["relative_accuracy", None] == pytest.approx(by["accuracy", None] / float(share))


@pytest.mark.parametrize("folder", ["MNIST-C", "mnist_c"])
def test_mnist_c_may_have_either_name(folder: str, tmp_path: Path) -> None:
    write_mnist_c(tmp_path, folder)
    evaluation().check(MNIST(), tmp_path)


def test_cifar_100_has_its_own_folder_and_classes(tmp_path: Path) -> None:
    place = write_cifar_c(tmp_path, "CIFAR-100-C", ("fog",))
    np.save(place / "labels.npy", np.arange(5 * EACH))
    evaluation(kinds=["fog"]).check(CIFAR100(), tmp_path)
    with pytest.raises(InputError, match="CIFAR-10-C is missing"):
        evaluation(kinds=["fog"]).check(CIFAR10(), tmp_path)


def test_its_rows_name_the_corrupted_set() -> None:
    assert [evaluation().dataset(data) for data in (CIFAR10(), CIFAR100(), MNIST())] == [
        "cifar10_c",
        "cifar100_c",
        "mnist_c",
    ]


# What is refused


@pytest.mark.parametrize(
    ("fields", "data", "problem"),
    [
        ({}, USPS(), "there is no corrupted test set of usps (allowed: cifar10, cifar100, mnist)"),
        (
            {"kinds": ["fog", "frost"]},
            MNIST(),
            "kinds: MNIST-C has no 'frost' (allowed: shot_noise, ",
        ),
        (
            {"kinds": ["zigzag"]},
            CIFAR10(),
            "kinds: CIFAR-10-C has no 'zigzag' (allowed: gaussian_noise, ",
        ),
        ({"kinds": ["identity"]}, CIFAR100(), "kinds: CIFAR-100-C has no 'identity' (allowed: "),
        ({"severities": [5]}, MNIST(), "severities: MNIST-C has none; leave them out"),
    ],
)
def test_what_a_benchmark_does_not_have_is_refused(
    fields: dict[str, Any], data: ImageData, problem: str
) -> None:
    assert str(evaluation(**fields).misfit(data)).startswith(problem)


@pytest.mark.parametrize("data", [CIFAR10(), CIFAR100(pad=2), MNIST(resize=16)])
def test_what_a_benchmark_has_is_not_refused(data: ImageData) -> None:
    assert evaluation().misfit(data) is None
    assert evaluation(kinds=["fog"]).misfit(data) is None


@pytest.mark.parametrize(
    "field",
    [
        {"split": "val"},
        {"severities": [6]},
        {"severities": []},
        {"kinds": []},
        {"kinds": ["sepia"]},
    ],
)
def test_a_description_that_cannot_be_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(field))}") as raised:
        evaluation(**field)
    assert "\n" not in str(raised.value)


def refused(root: Path, data: ImageData = CIFAR) -> str:
    """What the check says, which is what measuring says."""
    said = []
    for tried in (
        lambda: evaluation(kinds=["fog"]).check(data, root),
        lambda: measured(data, root, kinds=["fog"]),
    ):
        with pytest.raises(InputError) as raised:
            tried()  # type: ignore[no-untyped-call]
        said.append(str(raised.value))
    assert "\n" not in said[0]
    return said[0].replace(f"{root}/", "")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (CIFAR, "CIFAR-10-C is missing; it must be a folder with <kind>.npy and labels.npy: "),
        (
            SMALL_MNIST,
            "MNIST-C is missing; it must be a folder with <kind>/test_images.npy and "
            "<kind>/test_labels.npy: ",
        ),
    ],
)
def test_a_missing_folder_is_told_with_what_it_must_hold_and_where_from(
    data: ImageData, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        evaluation().check(data, tmp_path)
    said = str(raised.value).replace(f"{tmp_path}/", "")
    assert said.startswith(message)
    assert "https://zenodo.org/records/" in said
    assert "KDRAY_DATA" in said


class Creates:
    """What creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["fog", "labels"])
@pytest.mark.parametrize("bare", [True, False], ids=["pickle", "object array"])
def test_a_pickle_is_refused_and_not_executed(name: str, bare: bool, tmp_path: Path) -> None:
    path, created = write_cifar_c(tmp_path, kinds=("fog",)) / f"{name}.npy", tmp_path / "created"
    if bare:
        path.write_bytes(pickle.dumps(Creates(created)))
    else:
        np.save(path, np.array([Creates(created)] * 5, dtype=object), allow_pickle=True)
    assert refused(tmp_path).startswith(f"CIFAR-10-C/{name}.npy: cannot be read (")
    assert b"mkdir" in path.read_bytes()
    assert not created.exists()


FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("fog", lambda p: p.unlink(), "fog.npy is missing"),
    ("labels", lambda p: p.unlink(), "labels.npy is missing"),
    ("fog", lambda p: p.write_bytes(b""), "fog.npy: cannot be read ("),
    ("fog", lambda p: p.write_bytes(b"\x93NUMPY\x01\x00"), "fog.npy: cannot be read ("),
    (
        "fog",
        lambda p: p.write_bytes(b"\x93NUMPY\x01\x00\x05\x00{'a'\n"),
        "fog.npy: cannot be read (",
    ),
    ("fog", lambda p: p.write_bytes(p.read_bytes()[:-1]), "fog.npy: cannot be read ("),
    ("labels", lambda p: p.write_bytes(p.read_bytes()[:-1]), "labels.npy: cannot be read ("),
    ("fog", lambda p: p.write_bytes(npz(p)), "fog.npy: is no .npy file but an .npz archive"),
    (
        "fog",
        lambda p: np.save(p, np.zeros((100, 32, 32, 3), np.float32)),
        "fog.npy: is float32 100 x 32 x 32 x 3, needs",
    ),
    (
        "fog",
        lambda p: np.save(p, np.zeros((100, 3, 32, 32), np.uint8)),
        "fog.npy: is uint8 100 x 3 x 32 x 32, needs uint8",
    ),
    (
        "fog",
        lambda p: np.save(p, np.uint8(3)),
        "fog.npy: is uint8 (a single number), needs uint8 N x 32 x 32 x 3",
    ),
    ("fog", lambda p: np.save(p, np.zeros((0, 32, 32, 3), np.uint8)), "fog.npy: "),
    (
        "fog",
        lambda p: np.save(p, np.load(p)[:99]),
        "fog.npy: has 99 images, needs as many at each of 5 severities",
    ),
    (
        "fog",
        lambda p: np.save(p, np.load(p)[:95]),
        "labels.npy: is int64 100, needs 95 whole numbers, one for each",
    ),
    (
        "labels",
        lambda p: np.save(p, np.zeros(100)),
        "labels.npy: is float64 100, needs 100 whole numbers",
    ),
    (
        "labels",
        lambda p: np.save(p, np.r_[np.zeros(99, int), 10]),
        "labels.npy: label 99 is 10 (allowed: 0 to 9)",
    ),
    (
        "labels",
        lambda p: np.save(p, np.r_[-1, np.zeros(99, int)]),
        "labels.npy: label 0 is -1 (allowed: 0 to 9)",
    ),
]


def npz(path: Path) -> bytes:
    np.savez(path.with_name("other.npz"), a=np.zeros(3))
    return path.with_name("other.npz").read_bytes()


@pytest.mark.parametrize(("name", "damage", "message"), FILES)
def test_a_file_that_is_not_as_it_must_be_is_told(
    name: str, damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    damage(write_cifar_c(tmp_path, kinds=("fog",)) / f"{name}.npy")
    assert refused(tmp_path).startswith(f"CIFAR-10-C/{message}")


def test_a_missing_file_of_mnist_c_is_told(tmp_path: Path) -> None:
    (write_mnist_c(tmp_path) / "fog" / "test_labels.npy").unlink()
    assert refused(tmp_path, SMALL_MNIST) == "mnist_c/fog/test_labels.npy is missing"
