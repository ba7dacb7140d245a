from __future__ import annotations

from typing import Any

import pytest

from kdray.core import InputError, canonical, leaf_types, value_types
from kdray.experiment import Experiment, configuration, configuration_columns, loss_columns
from kdray.methods import AnyMethod, Method
from kdray.results import TABLES
from tests.trials import description, distillation, experiment

KD = {"name": "kd"}


def test_equal_descriptions_are_the_same_trial() -> None:
    assert experiment() == experiment()
    assert experiment().trial_id == experiment().trial_id
    assert len(experiment().trial_id) == 16


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"data": {"name": "digits", "examples": 301}},
        {"data": {"name": "digits", "examples": 300, "augment": "flip"}},
        {"data": {"name": "digits", "examples": 300, "normalization": "none"}},
        {"model": {"name": "mlp", "hidden": [16, 16]}},
        {"model": {"name": "mlp", "hidden": [16], "dropout": 0.1}},
        {"noise": {"input": {"name": "gaussian", "sigma": 0.0}}},  # it draws, even if it adds nothing
        {"noise": {"labels": {"name": "uniform", "rate": 0.1}}},
        {"training": {"epochs": 4, "batch_size": 50}},
        {"training": {"epochs": 3, "batch_size": 50, "keep": "best_validation"}},
        {"teacher": description(), "method": KD},
        {"teacher": description(seed=1), "method": KD},
        {"teacher": description(), "method": {"name": "kd", "temperature": 2}},
    ],
)  # fmt: skip
def test_whatever_changes_a_number_is_another_trial(fields: dict[str, Any]) -> None:
    assert experiment(**fields).trial_id != experiment().trial_id


def test_a_teachers_id_is_that_of_the_same_experiment_alone() -> None:
    student = distillation()
    assert student.teacher is not None
    assert student.teacher.trial_id == experiment().trial_id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": KD}, "method kd needs a teacher, and there is none"),
        (
            {"teacher": description()},
            "method cross_entropy asks no teacher: set teacher to null, or choose another method",
        ),
        (
            {"teacher": description(data={"name": "cifar100"}), "method": KD, "data": {"name": "cifar10"}},
            "teacher.data.name: cifar100 has 100 classes, the student's cifar10 has 10",
        ),
        (
            {"teacher": description(data={"name": "mnist"}), "method": KD},
            "teacher.data: the teacher's images are 1 x 28 x 28 (channels x height x width), the student's 1 x 8 x 8",
        ),
        (
            {"teacher": description(data={"name": "digits", "channels": 3}), "method": KD},
            "teacher.data: the teacher's images are 3 x 8 x 8 (channels x height x width), the student's 1 x 8 x 8",
        ),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1"),
        (
            {"tempreature": 4},
            "tempreature: unknown key (allowed: data, method, model, noise, seed, supervision, teacher, training)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_told_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        experiment(**fields)
    assert str(raised.value) == message


def test_a_rule_that_a_teacher_breaks_is_told_with_its_place() -> None:
    with pytest.raises(InputError, match=r"^experiment\.teacher: method kd needs a teacher, and there is none$"):
        Experiment.parse(description(teacher=description(method=KD), method=KD), "experiment")


def test_a_teacher_may_have_seen_other_images_of_the_same_shape() -> None:
    described = distillation(data={"name": "mnist", "resize": 16}, teacher=description(data={"name": "usps"}))
    assert described.teacher is not None
    assert described.teacher.data.shape == described.data.shape


def test_a_teacher_may_have_a_teacher() -> None:
    described = distillation(teacher=canonical(distillation(seed=2)))
    assert described.teacher is not None
    assert described.teacher.teacher == experiment()


def test_every_number_of_an_experiment_has_a_column() -> None:
    assert configuration_columns().keys() | {"seed"} == leaf_types(Experiment).keys()
    assert set(configuration_columns().values()) <= {bool, int, float, str}
    assert not configuration_columns().keys() & {column.name for column in TABLES["trials"]}


def test_a_columns_name_is_the_path_to_its_value() -> None:
    described = distillation(
        noise={"input": {"name": "gaussian", "sigma": 0.25}, "labels": {"name": "uniform", "rate": 1}}, seed=3
    )
    found = configuration(described)
    assert found["noise.input.sigma"] == 0.25
    assert found["noise.labels.rate"] == 1.0
    assert isinstance(found["noise.labels.rate"], float)
    assert found["noise.input.clip"] is False
    assert found["method.temperature"] == described.method.temperature == 4.0  # type: ignore[union-attr]
    assert found["training.optimizer.name"] == "sgd"
    assert "seed" not in found


def test_the_loss_columns_are_the_terms_of_all_methods() -> None:
    terms = {term for method in value_types(AnyMethod) if issubclass(method, Method) for term in method.terms}
    assert loss_columns() == {f"loss.{term}": float for term in terms}
    assert {"loss.cross_entropy", "loss.soft", "loss.hint", "loss.perturbed_soft"} < loss_columns().keys()
