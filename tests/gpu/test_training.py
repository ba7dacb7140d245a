"""Every member of what a training is described by trains on a GPU: with operators that can be
repeated there, on one device, with its generators; and no step waits for it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from kdray.core import InputError, Value, canonical, tag_of
from kdray.core.unions import joined
from kdray.machine import hardware
from kdray.methods import KD, AnyMethod, CrossEntropy, Method
from kdray.methods.attacked import AttackedMethod
from kdray.methods.weight_perturbation import WeightPerturbation
from kdray.models import AnyModel, CifarResNet, Smoothing
from kdray.models.smoothing import Aggregate
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise
from kdray.teachers.supervision import Virtual
from kdray.training.averaging import AnyAverage
from kdray.training.compute import Precision
from kdray.training.optimizers import AnyOptimizer
from kdray.training.transforms import AnyTransform
from tests.contracts.members import every, instance, members
from tests.gpu.launches import REMADE_BY, launches_written, teachable
from tests.gpu.record import Record
from tests.gpu.trainings import CNN, STEPS, described, network, trained

COPYING_TRANSFORMS = {"trivial_augment", "random_erasing"}
"""They change image by image, with parameters that torchvision draws on the processor and copies as
numbers: allowed, because no view of an image comes twice, and they never wait for the GPU."""


def assert_runs_ahead(record: Record) -> None:
    """The last step waits for nothing."""
    assert len(record.steps) >= STEPS
    assert record.step(-1).stalls == {}


def fits(model: dict[str, Any], method: Method) -> bool:
    """Whether the method can teach such a network."""
    try:
        described(model, method)
    except InputError:
        return False
    return True


@every(AnyModel)
@pytest.mark.parametrize("method", members(AnyMethod), ids=tag_of)
def test_a_method_teaches_a_model(kind: type[Any], method: type[Any]) -> None:
    if fits(network(kind), instance(method)):
        assert trained(described(network(kind), instance(method)), steps=1).launches


@every(AnyModel)
def test_steps_of_a_model_run_ahead(kind: type[Any]) -> None:
    assert_runs_ahead(trained(described(network(kind), CrossEntropy())))


@every(AnyMethod)
def test_steps_of_a_method_run_ahead_in_as_many_launches_as_written(
    kind: type[Any], value: Method
) -> None:
    record = trained(described(teachable(value), value))
    assert_runs_ahead(record)
    written = launches_written().get(tag_of(kind) or "")
    if kind not in joined():
        assert written is not None, f"write it down: {REMADE_BY}"
        assert record.step(-1).launches <= written, f"if it must be: {REMADE_BY}"


@pytest.mark.parametrize(
    "kind", [k for k in members(AnyMethod) if issubclass(k, AttackedMethod)], ids=tag_of
)
def test_weights_are_perturbed(kind: type[Any]) -> None:
    method = instance(kind).model_copy(update={"weight_perturbation": WeightPerturbation()})
    assert_runs_ahead(trained(described(teachable(method), method)))


@every(AnyInputNoise)
@pytest.mark.parametrize("sees", ["clean", "noisy"])
def test_images_are_noisy(value: Value, sees: str) -> None:
    noise = {"input": canonical(value), "teacher_sees": sees}
    assert_runs_ahead(trained(described(CNN, KD(), noise=noise)))


@every(AnyLabelNoise)
def test_labels_are_noisy(value: Value) -> None:
    noise = {"labels": {**canonical(value), "resample": "epoch"}}
    assert_runs_ahead(trained(described(CNN, KD(), noise=noise)))


@every(AnyWeightNoise)
def test_weights_are_noisy(value: Value) -> None:
    model = {**network(CifarResNet), "weight_noise": canonical(value)}
    assert_runs_ahead(trained(described(model, CrossEntropy())))


SUPERVISIONS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": "active"},
    **{
        f"smoothed {aggregate}": {
            "smoothing": canonical(Smoothing(samples=3, aggregate=aggregate, sigma=0.1))
        }
        for aggregate in get_args(Aggregate)
    },
    **{
        f"noise {tag_of(kind)}": {"noise": [canonical(instance(kind))]}
        for kind in members(AnyLogitNoise)
    },
    "virtual": {"virtual": canonical(Virtual())},
}


@pytest.mark.parametrize("asked", SUPERVISIONS.values(), ids=SUPERVISIONS.keys())
def test_a_teacher_is_asked(asked: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"supervision": asked}
    model = {**CNN, "dropout": 0.5}
    if "virtual" in asked:
        fields["teacher"] = None
    assert_runs_ahead(trained(described(model, KD(), **fields)))


@every(AnyTransform)
def test_images_are_transformed(kind: type[Any], value: Value) -> None:
    record = trained(described(CNN, KD(), training={"transforms": [canonical(value)]}))
    if tag_of(kind) in COPYING_TRANSFORMS:
        assert all(stall.startswith("pageable copy") for stall in record.step(-1).stalls)
    else:
        assert_runs_ahead(record)


@every(AnyAverage)
def test_weights_are_averaged(value: Value) -> None:
    assert_runs_ahead(
        trained(described(CNN, CrossEntropy(), training={"average": canonical(value)}))
    )


@every(AnyOptimizer)
def test_an_optimiser_steps(value: Value) -> None:
    training = {"optimizer": canonical(value), "clip_grad_norm": 1.0, "gradients": True}
    assert_runs_ahead(trained(described(CNN, CrossEntropy(), training=training)))


@pytest.mark.parametrize("precision", get_args(Precision))
def test_a_precision_trains(precision: str) -> None:
    assert_runs_ahead(trained(described(CNN, KD(), training={"precision": precision})))


def test_a_step_with_images_from_main_memory_waits_for_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "room", lambda *_: 1)
    assert_runs_ahead(trained(described(CNN, KD())))


def test_what_is_monitored_between_epochs_is_measured_on_the_gpu() -> None:
    monitor = {"every": 1, "suite": [{"name": "pgd", "split": "val", "steps": 2}]}
    training = {"monitor": monitor, "keep": {"best": "pgd.accuracy"}}
    record = trained(described(CNN, KD(), training=training))
    assert_runs_ahead(record)
    assert any("robustness/pgd" in event.caller for event in record.events)
