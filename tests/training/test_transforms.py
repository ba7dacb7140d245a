"""Augmentations that draw continuously: what they do to images and labels, and that a training with
them is told by its description alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError, parse, value_types
from kdray.data import Views
from kdray.methods import Teacher
from kdray.training import Training
from kdray.training.loop import train
from kdray.training.transforms import AnyTransform, CutMix, MixUp, Transform, transformed
from tests.small_trials import description, distillation, experiment, fresh, setup, teacher_of

TRANSFORMS = [kind() for kind in value_types(AnyTransform)]
LABELS = torch.arange(40) % 10


def images(count: int = 40, channels: int = 3, side: int = 16) -> Tensor:
    drawn = torch.randint(
        1, 256, (count, channels, side, side), generator=torch.Generator().manual_seed(1)
    )
    return drawn.float() / 255


def made(transform: Transform | dict[str, Any], *counters: int, seed: int = 0, **of: int) -> Any:
    if isinstance(transform, dict):
        (transform,) = training(transform).transforms
    shown = images(**of)
    return transformed((transform,), shown, LABELS[: len(shown)], 10, seed, *(counters or (0, 0)))


def training(*transforms: dict[str, Any]) -> Training:
    return parse(Training, {"epochs": 1, "transforms": list(transforms)})


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_transform_gives_images_in_the_unit_interval(
    transform: Transform, channels: int
) -> None:
    before = images(channels=channels)
    found = made(transform, channels=channels)
    assert found.images.shape == before.shape
    assert found.images.dtype == torch.float32
    assert 0 <= found.images.min() <= found.images.max() <= 1
    assert not torch.equal(found.images, before)
    assert torch.equal(before, images(channels=channels))
    assert (found.targets is not None) == transform.mixes_labels


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
def test_what_is_drawn_is_told_by_seed_epoch_and_batch_alone(transform: Transform) -> None:
    before = torch.get_rng_state()
    first = made(transform, 3, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(made(transform, 3, 1).images, first.images)
    for other in (made(transform, 3, 2), made(transform, 4, 1), made(transform, 3, 1, seed=1)):
        assert not torch.equal(other.images, first.images)


@pytest.mark.parametrize("name", ["trivial_augment", "random_erasing"])
def test_each_image_has_draws_of_its_own(name: str) -> None:
    alike = images(1).expand(40, -1, -1, -1).contiguous()
    (transform,) = training({"name": name}).transforms
    found = transformed((transform,), alike, LABELS, 10, 0, 0, 0).images
    assert len({image.numpy().tobytes() for image in found}) > 10


def test_mixup_is_a_convex_combination_of_two_images_and_of_their_labels() -> None:
    before, hot = images(), functional.one_hot(LABELS, 10).float()
    for number in range(5):
        found = made(MixUp(alpha=1.0), 0, number)
        share = found.targets[0, 0]  # the labels of neighbours differ
        assert torch.allclose(found.targets, share * hot + (1 - share) * hot.roll(1, 0))
        expected = share * before + (1 - share) * before.roll(1, 0)
        assert torch.allclose(found.images, expected, atol=1e-6)
        assert torch.equal(found.labels, found.targets.argmax(1))


def test_the_shares_of_mixup_are_of_a_beta_distribution() -> None:
    """Beta(α, α) has the mean 1/2 and the variance 1/(4·(2α + 1))."""
    for alpha in (0.2, 1.0, 4.0):
        transform = MixUp(alpha=alpha)
        shares = torch.stack(
            [made(transform, 0, number, count=2, side=2).targets[0, 0] for number in range(400)]
        )
        variance = 1 / (4 * (2 * alpha + 1))
        assert shares.mean().item() == pytest.approx(0.5, abs=4 * (variance / 400) ** 0.5)
        assert shares.var().item() == pytest.approx(variance, rel=0.25)


def test_cutmix_labels_an_image_by_the_area_of_each() -> None:
    before = images()
    for number in range(20):
        found = made(CutMix(), 0, number)
        own = (found.images == before).all(1)
        other = (found.images == before.roll(1, 0)).all(1)
        assert (own | other).all()
        share = found.targets[torch.arange(40), LABELS]
        assert torch.allclose(own.float().mean((1, 2)), share, atol=1e-6)


def test_an_erased_rectangle_is_black_and_as_large_and_high_as_is_said() -> None:
    square = {"name": "random_erasing", "probability": 1, "area": [0.25, 0.25], "ratio": [1, 1]}
    found = made(square)
    erased = (found.images == 0).all(1)
    assert torch.equal(erased.flatten(1).sum(1), torch.full((40,), 64))
    rows, columns = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(rows, columns)
    assert torch.equal(rows, torch.full((40,), 8))
    untouched = ~erased[:, None].expand(-1, 3, -1, -1)
    assert torch.equal(found.images[untouched], images()[untouched])
    half = made({"name": "random_erasing", "probability": 0.5})
    assert 10 < (half.images == 0).flatten(1).any(1).sum() < 30


def test_transforms_are_done_in_their_order() -> None:
    erase = {"name": "random_erasing", "probability": 1}
    first = training(erase, {"name": "mixup"})
    last = training({"name": "mixup"}, erase)
    shown = [
        transformed(each.transforms, images(), LABELS, 10, 0, 0, 0).images for each in (first, last)
    ]
    black = [int((each == 0).all(1).sum()) for each in shown]
    assert black[0] < black[1]  # of what is erased first, half is covered by the other image


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([{"name": "mixup"}, {"name": "cutmix"}], "transforms: mixup and cutmix both mix labels"),
        (
            [{"name": "mixup", "alpha": 0}],
            "transforms[0].alpha: input should be greater than 0, not 0",
        ),
        (
            [{"name": "random_erasing", "area": [0.5, 0.1]}],
            "area: [0.5, 0.1] is not the least and the largest",
        ),
        ([{"name": "mixupp"}], "mixup"),
    ],
)
def test_what_makes_no_sense_is_refused(transforms: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as raised:
        training(*transforms)
    assert message in str(raised.value)


def test_mixed_labels_are_refused_where_a_label_is_needed() -> None:
    mixing = {"epochs": 1, "transforms": [{"name": "cutmix"}]}
    with pytest.raises(InputError) as raised:
        distillation(method={"name": "margin"}, training=mixing)
    said = str(raised.value)
    assert "training.transforms: cutmix mixes labels, and method margin needs one label" in said
    assert "(allowed: " in said
    assert "kd" in said
    with pytest.raises(InputError, match="a virtual teacher answers for one"):
        experiment(method={"name": "kd"}, supervision={"virtual": {}}, training=mixing)
    erasing = {"epochs": 1, "transforms": [{"name": "random_erasing"}]}
    distillation(method={"name": "margin"}, training=erasing)


def test_an_experiment_without_transforms_is_the_one_that_it_was() -> None:
    plain = description()
    without = description(training={**plain["training"], "transforms": []})
    assert experiment(**plain).trial_id == experiment(**without).trial_id


@pytest.mark.parametrize("name", ["trivial_augment", "mixup"])
def test_the_teacher_is_asked_for_the_transformed_images_every_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = distillation(
        noise={"input": {"name": "gaussian", "sigma": 0.2}},
        training={"epochs": 2, "batch_size": 50, "transforms": [{"name": name}]},
    )
    teacher, asked = teacher_of(described), []
    logits = Teacher.logits

    def noted(self: Teacher, batch: Any, *, temperature: float) -> Tensor:
        asked.append(batch)
        answer = logits(self, batch, temperature=temperature)
        with torch.no_grad():
            assert torch.equal(answer, teacher.logits(batch.clean))
        return answer

    from kdray.teachers.oracle import EpochOracle

    shown: list[Tensor] = []
    batches = Views.batches

    def listed(self: Views, *args: Any, **options: Any) -> Any:
        for batch in batches(self, *args, **options):
            shown.append(batch.images)
            yield batch

    monkeypatch.setattr(EpochOracle, "logits", noted)
    monkeypatch.setattr(Views, "batches", listed)
    state = fresh(described, teacher)
    for _ in train(state, setup(described, teacher=teacher)):
        pass
    assert len(asked) == len(shown) == 2 * 4
    for batch, plain in zip(asked, shown, strict=True):
        assert batch.at is None
        assert not torch.equal(batch.clean, plain)
        assert not torch.equal(batch.images, batch.clean)
        assert (batch.mixed is not None) == (name == "mixup")
