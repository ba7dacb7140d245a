from __future__ import annotations

import json
from typing import Any

import pytest

from kdray.core import InputError, canonical, leaf_types, value_types
from kdray.methods import KD as Distillation
from kdray.methods import AnyMethod, Method, TrainedTeacher
from kdray.models import Described
from kdray.results import TABLES
from kdray.trials.experiment import (
    Experiment,
    configuration,
    configuration_columns,
    loss_columns,
    stored_experiment,
)
from tests.small_trials import description, distillation, experiment

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
        {
            "noise": {"input": {"name": "gaussian", "sigma": 0.0}}
        },  # it draws, even if it adds nothing
        {"noise": {"labels": {"name": "uniform", "rate": 0.1}}},
        {"training": {"epochs": 4, "batch_size": 50}},
        {"training": {"epochs": 3, "batch_size": 50, "keep": "best_validation"}},
        {"teacher": description(), "method": KD},
        {"teacher": description(seed=1), "method": KD},
        {"teacher": description(), "method": {"name": "kd", "temperature": 2}},
    ],
)
def test_whatever_changes_a_number_is_another_trial(fields: dict[str, Any]) -> None:
    assert experiment(**fields).trial_id != experiment().trial_id


def test_a_student_takes_its_teacher_as_it_is_and_is_the_same_trial() -> None:
    whole = description(teacher=description(), method=KD)
    teacher = experiment()
    taught = Experiment.taught({k: v for k, v in whole.items() if k != "teacher"}, teacher)
    assert taught.teacher is teacher
    assert taught == Experiment.parse(whole)
    assert taught.trial_id == Experiment.parse(whole).trial_id
    assert Experiment.taught(description(), None) == experiment()
    with pytest.raises(InputError, match=r"^experiment.*hiden.*unknown key"):
        Experiment.taught(description(model={"name": "mlp", "hiden": [2]}), None, "experiment")


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
            {
                "teacher": description(data={"name": "cifar100"}),
                "method": KD,
                "data": {"name": "cifar10"},
            },
            "teacher.data.name: cifar100 has 100 classes, the student's cifar10 has 10",
        ),
        (
            {"teacher": description(data={"name": "mnist"}), "method": KD},
            "teacher.data: the teacher's images are 1 x 28 x 28 (channels x height x "
            "width), the student's 1 x 8 x 8",
        ),
        (
            {"teacher": description(data={"name": "digits", "channels": 3}), "method": KD},
            "teacher.data: the teacher's images are 3 x 8 x 8 (channels x height x width), "
            "the student's 1 x 8 x 8",
        ),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1"),
        (
            {"tempreature": 4},
            "tempreature: unknown key (allowed: data, init, method, model, noise, seed, "
            "supervision, teacher, training)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_told_in_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        experiment(**fields)
    assert str(raised.value) == message


VIRTUAL: dict[str, Any] = {"supervision": {"virtual": {}}}
DROPPING = description(model={"name": "mlp", "hidden": [16], "dropout": 0.3})
FITNET = {"name": "fitnet"}
SIGNAL = {"name": "signal_dependent", "sigma": 0.3}
SWAP = {"name": "swap", "probability": 0.1, "threshold": 0.2}
CONVOLUTIONAL = {"name": "wide_resnet", "depth": 10, "width": 1}


def attacked(**attack: Any) -> dict[str, Any]:
    return {"name": "adversarial", "attack": attack}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a teacher that only a half of weight 0 would ask": (
        {
            "teacher": description(),
            "method": {"name": "adversarial", "mix": 1, "clean": {"name": "kd"}},
        },
        "method adversarial asks no teacher: set teacher to null, or choose another method",
    ),
    "a network for larger images": (
        {"model": {"name": "maxout", "network": "teacher_mnist"}},
        "model.network: images of 8 x 8 pixels are too small for it (those of mnist are "
        "made for 28 x 28, the others for "
        "32 x 32)",
    ),
    "a teacher that sees noise that is not there": (
        {"teacher": description(), "method": {"name": "kd"}, "noise": {"teacher_sees": "noisy"}},
        "noise.teacher_sees: noisy, but there is no noise.input",
    ),
    "a virtual teacher that sees anything": (
        {
            "supervision": {"virtual": {}},
            "method": {"name": "kd"},
            "noise": {"teacher_sees": "noisy", "input": {"name": "gaussian", "sigma": 0.1}},
        },
        "noise.teacher_sees: noisy, but there is no trained teacher",
    ),
    "regression onto logits that are probabilities": (
        {"supervision": {"virtual": {}}, "method": {"name": "output_regression", "on": "logits"}},
        "method.on: logits: a virtual teacher's numbers stand in the place of logits but "
        "are probabilities",
    ),
    "a monitor that smooths what does not draw": (
        {
            "training": {
                "epochs": 2,
                "monitor": {
                    "suite": [{"name": "clean", "split": "val", "smoothing": {"samples": 3}}]
                },
            }
        },
        "training.monitor.suite: clean smooths a model that draws nothing",
    ),
    "a monitor that never looks": (
        {
            "training": {
                "epochs": 2,
                "monitor": {"every": 3, "suite": [{"name": "clean", "split": "val"}]},
            }
        },
        "training: monitor.every: 3 is more than the 2 epochs: it never looks",
    ),
    "two who answer": (
        {"teacher": description(), "method": KD, **VIRTUAL},
        "supervision.virtual: stands in for a trained teacher, and there is one: set one "
        "of them to null",
    ),
    "a half without a teacher": (
        {"method": {"name": "adversarial", "perturbed": KD}},
        "method adversarial needs a teacher, and there is none",
    ),
    "hints from nobody": ({"method": FITNET}, "method fitnet needs a teacher, and there is none"),
    "a virtual teacher that is not asked": (
        VIRTUAL,
        "method cross_entropy asks no teacher: set supervision.virtual to null, or choose "
        "another method",
    ),
    "a teacher that no half asks": (
        {"teacher": description(), "method": {"name": "adversarial"}},
        "method adversarial asks no teacher: set teacher to null, or choose another method",
    ),
    "live dropout of nobody": (
        {"supervision": {"dropout": "active"}},
        "supervision.dropout: there is no teacher whose answer it could change",
    ),
    "smoothing of nobody": (
        {"supervision": {"smoothing": {"samples": 3}}},
        "supervision.smoothing: there is no teacher whose answer it could change",
    ),
    "swapping without a teacher": (
        {"supervision": {"noise": [SWAP]}},
        "supervision.noise: there is no teacher whose answer it could change",
    ),
    "live dropout of a virtual teacher": (
        {"supervision": {"virtual": {}, "dropout": "active"}, "method": KD},
        "supervision.dropout: a virtual teacher has no network",
    ),
    "smoothing of a virtual teacher": (
        {"supervision": {"virtual": {}, "smoothing": {"samples": 3, "sigma": 0.1}}, "method": KD},
        "supervision.smoothing: a virtual teacher has no network",
    ),
    "live dropout without dropout": (
        {"teacher": description(), "method": KD, "supervision": {"dropout": "active"}},
        "supervision.dropout: active, but the teacher has no dropout (teacher.model.dropout is 0)",
    ),
    "smoothing of what never differs": (
        {"teacher": DROPPING, "method": KD, "supervision": {"smoothing": {"samples": 9}}},
        "supervision.smoothing: the teacher answers the same in all of 9 passes; give it noise "
        "(smoothing.sigma, teacher.model.input_sigma or weight_noise, or dropout: active)",
    ),
    "gradients of a virtual teacher": (
        {"method": {"name": "gradient_matching"}, **VIRTUAL},
        "method gradient_matching compares input gradients, and a virtual teacher has none",
    ),
    "a virtual teacher for a robust student": (
        {"method": {"name": "robust_student"}, **VIRTUAL},
        "method robust_student compares input gradients, and a virtual teacher has none",
    ),
    "hints from a virtual teacher": (
        {"method": FITNET, **VIRTUAL},
        "method fitnet needs hidden layers, and a virtual teacher has none",
    ),
    "hints from a smoothed teacher": (
        {
            "method": FITNET,
            "teacher": description(),
            "supervision": {"smoothing": {"samples": 2, "sigma": 0.1}},
        },
        "supervision.smoothing: a smoothed teacher has no hidden layers to give hints from",
    ),
    "hints to a model without stages": (
        {"method": FITNET, "teacher": description(), "model": {"name": "mlp", "hidden": []}},
        "method.student_stage: model mlp has no stages to give or take hints",
    ),
    "hints from a model without stages": (
        {"method": FITNET, "teacher": description(model={"name": "mlp", "hidden": []})},
        "method.teacher_stage: model mlp has no stages to give or take hints",
    ),
    "a guided layer that is not there": (
        {"method": {**FITNET, "student_stage": 1}, "teacher": description()},
        "method.student_stage: 1 is not below 1, the number of the model's stages",
    ),
    "a hint layer that is not there": (
        {
            "method": {**FITNET, "teacher_stage": 3},
            "teacher": description(model=CONVOLUTIONAL),
            "model": CONVOLUTIONAL,
        },
        "method.teacher_stage: 3 is not below 3, the number of the model's stages",
    ),
    "hints from maps to vectors": (
        {"method": FITNET, "teacher": description(model=CONVOLUTIONAL)},
        "method fitnet: the student's stage (16,) cannot be regressed onto the teacher's "
        "(32, 4, 4): both must be vectors, "
        "or maps of which the student's is at least as large",
    ),
    "hints from larger maps": (
        {
            "method": {**FITNET, "teacher_stage": 0},
            "teacher": description(model=CONVOLUTIONAL),
            "model": CONVOLUTIONAL,
        },
        "method fitnet: the student's stage (32, 4, 4) cannot be regressed onto the "
        "teacher's (16, 8, 8): both must be "
        "vectors, or maps of which the student's is at least as large",
    ),
    "an indirect gradient of images that are not made": (
        {
            "teacher": description(),
            "method": {
                "name": "adversarial",
                "mix": 0,
                "clean": {"name": "kd"},
                "indirect_gradient": {},
            },
        },
        "method.indirect_gradient: is of images that the attack has made, and mix 0 makes none "
        "(allowed: mix above 0, or indirect_gradient: null)",
    ),
    "an attack in expectation over nothing": (
        {"method": attacked(samples=4)},
        "method.attack.samples: 4 passes of a model that draws nothing are all the same; use 1",
    ),
    "an attack in expectation over dropout that is off": (
        {"method": attacked(samples=4), "model": {"name": "mlp", "dropout": 0.5}},
        "method.attack.samples: 4 passes of a model that draws nothing are all the same; use 1",
    ),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_makes_no_sense_is_refused_with_the_reason_in_one_line(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        experiment(**fields)
    assert str(raised.value) == message


ALLOWED: dict[str, dict[str, Any]] = {
    "a fickle teacher with soft randomization": {
        "teacher": DROPPING,
        "method": KD,
        "supervision": {"dropout": "active"},
        "noise": {"input": {"name": "gaussian", "sigma": 0.2}},
    },
    "label noise with the margin loss": {
        "teacher": description(),
        "method": {"name": "margin"},
        "noise": {"labels": {"name": "uniform", "rate": 0.3}},
    },
    "a smoothed adversarial teacher with gradient matching": {
        "teacher": description(
            method=attacked(epsilon=0.1, steps=2), model={"name": "mlp", "input_sigma": 0.1}
        ),
        "method": {"name": "gradient_matching"},
        "supervision": {"smoothing": {"samples": 4}},
    },
    "several changes of the logits": {
        "teacher": description(),
        "method": KD,
        "supervision": {"noise": [SIGNAL, SWAP, {**SWAP, "which": "all"}, SIGNAL]},
    },
    "a virtual teacher with noise on its answer": {
        "method": KD,
        "supervision": {"virtual": {}, "noise": [SIGNAL]},
    },
    "a virtual teacher of an adversarial student": {
        "method": {"name": "adversarial", "clean": KD, "perturbed": KD},
        **VIRTUAL,
    },
    "a teacher with live dropout, smoothed": {
        "teacher": DROPPING,
        "method": KD,
        "supervision": {"dropout": "active", "smoothing": {"samples": 4}},
    },
    "one pass": {
        "teacher": description(),
        "method": KD,
        "supervision": {"smoothing": {"samples": 1}},
    },
    "a smoothed teacher with weight noise": {
        "teacher": description(model={**CONVOLUTIONAL, "weight_noise": {"name": "pni"}}),
        "method": KD,
        "supervision": {"smoothing": {"samples": 4}},
    },
    "hints with live dropout": {
        "teacher": DROPPING,
        "method": FITNET,
        "supervision": {"dropout": "active"},
    },
    "hints from smaller maps": {
        "teacher": description(model=CONVOLUTIONAL),
        "model": CONVOLUTIONAL,
        "method": {**FITNET, "student_stage": 0},
    },
    "an attack in expectation over weight noise": {
        "method": attacked(samples=4),
        "model": {**CONVOLUTIONAL, "weight_noise": {"name": "cni"}},
    },
    "an attack in expectation over live dropout": {
        "method": attacked(samples=4, batch_norm="batch"),
        "model": {"name": "mlp", "dropout": 0.5},
    },
}


@pytest.mark.parametrize("fields", ALLOWED.values(), ids=list(ALLOWED))
def test_what_makes_sense_may_be_combined(fields: dict[str, Any]) -> None:
    described = experiment(**fields)
    assert Experiment.parse(canonical(described)) == described
    assert described.trial_id != experiment().trial_id


def test_a_rule_that_a_teacher_breaks_is_told_with_its_place() -> None:
    with pytest.raises(
        InputError, match=r"^experiment\.teacher: method kd needs a teacher, and there is none$"
    ):
        Experiment.parse(description(teacher=description(method=KD), method=KD), "experiment")


def test_a_teacher_may_have_seen_other_images_of_the_same_shape() -> None:
    described = distillation(
        data={"name": "mnist", "resize": 16}, teacher=description(data={"name": "usps"})
    )
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
        noise={
            "input": {"name": "gaussian", "sigma": 0.25},
            "labels": {"name": "uniform", "rate": 1},
        },
        seed=3,
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
    terms = {
        term
        for method in value_types(AnyMethod)
        if issubclass(method, Method)
        for term in method.term_names()
    }
    assert loss_columns() == {f"loss.{term}": float for term in terms}
    assert {
        "loss.cross_entropy",
        "loss.soft",
        "loss.hint",
        "loss.perturbed_soft",
    } < loss_columns().keys()


def test_a_method_says_itself_what_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Described, TrainedTeacher | None]] = []

    def refuse(self: Distillation, student: Described, teacher: TrainedTeacher | None) -> None:
        asked.append((student, teacher))
        raise ValueError("method.alpha: not today")

    monkeypatch.setattr(Distillation, "check_fits", refuse)
    with pytest.raises(InputError, match=r"^method\.alpha: not today$"):
        distillation(supervision={"smoothing": {"samples": 2, "sigma": 0.1}})
    ((student, teacher),) = asked
    assert (student.shape, student.classes) == ((1, 8, 8), 10)
    assert teacher is not None
    assert teacher.smoothing is not None


@pytest.mark.parametrize(
    ("labels", "omitted", "reason"),
    [
        ({"name": "uniform", "rate": 0.2}, range(1, 10), "of one class no label is wrong"),
        ({"name": "asymmetric", "rate": 0.2, "pairs": [[0, 11]]}, (), "there is no class 11"),
        ({"name": "transition", "matrix": [[1.0, 0.0], [0.0, 1.0]]}, (), "has 2 rows"),
    ],
)
def test_label_noise_that_does_not_fit_the_classes_is_refused(
    labels: dict[str, Any], omitted: Any, reason: str
) -> None:
    data = {"name": "digits", "omit_classes": list(omitted)}
    with pytest.raises(InputError, match=rf"^noise\.labels\..*{reason}"):
        experiment(data=data, noise={"labels": labels})


def test_batches_of_one_that_batch_norm_cannot_be_trained_on_are_refused() -> None:
    training = {"epochs": 1, "batch_size": 1}
    experiment(training=training)
    with pytest.raises(InputError, match=r"^training\.batch_size: 1 is too few for resnet"):
        experiment(model={"name": "resnet", "depth": 10}, training=training)


def test_logits_of_votes_are_refused_and_their_probabilities_are_not() -> None:
    smoothing = {"samples": 8, "aggregate": "prediction", "sigma": 0.1}

    def regressed(on: str) -> Experiment:
        return distillation(
            supervision={"smoothing": smoothing}, method={"name": "output_regression", "on": on}
        )

    with pytest.raises(InputError, match=r"^method\.on: logits: a class without a vote"):
        regressed("logits")
    assert regressed("probabilities").method.name == "output_regression"


def test_a_stored_experiment_is_the_trial_that_its_row_says() -> None:
    described = experiment()
    text = json.dumps(canonical(described))
    assert stored_experiment(text, described.trial_id, "r: trial a") == described
    with pytest.raises(
        InputError,
        match=rf"^r: trial a was made by another version of kdray: its description is trial "
        rf"{described.trial_id} now; 'kdray run' on its sweep trains it anew$",
    ):
        stored_experiment(text, "0" * 16, "r: trial a")


@pytest.mark.parametrize(
    "method",
    [
        {"name": "kd", "logit_standardization": True},
        {"name": "adversarial", "perturbed": {"name": "kd", "logit_standardization": True}},
        {"name": "adversarial", "perturbed": {"name": "kd"}, "indirect_gradient": {}},
    ],
)
def test_logarithms_of_votes_are_not_compared(method: dict[str, Any]) -> None:
    teacher = description(model={"name": "mlp", "hidden": [8], "input_sigma": 0.1})
    smoothing = {"samples": 8, "aggregate": "prediction"}
    with pytest.raises(InputError, match=r"^supervision\.smoothing\.aggregate: prediction gives"):
        distillation(teacher=teacher, method=method, supervision={"smoothing": smoothing})
    smoothing["aggregate"] = "soft_prediction"
    distillation(teacher=teacher, method=method, supervision={"smoothing": smoothing})
