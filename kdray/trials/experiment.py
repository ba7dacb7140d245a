"""An experiment: the complete, frozen description of one training. Its fingerprint is the trial's
id."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Self

from pydantic import Discriminator, Field, Tag, ValidationInfo, model_validator

from kdray.core import (
    InputError,
    Value,
    fingerprint,
    leaf_types,
    leaves,
    of_all_members,
    parse,
    tag_of,
    value_types,
)
from kdray.data import AnyData
from kdray.methods import AnyMethod, CrossEntropy, Method, TrainedTeacher
from kdray.models import (
    AnyModel,
    Described,
    Smoothing,
    has_dropout,
    is_stochastic,
    smallest_batch,
    stage_shapes,
)
from kdray.perturbations import Noise
from kdray.robustness import label_of
from kdray.teachers import Init, Pretrained, Supervision
from kdray.training import Training

TEACHER = "teacher"
"""Key of the context in which a student is validated."""


def _kind(described: Any) -> str:
    """Whether a teacher is trained by kdray or was trained elsewhere, by its name as a class."""
    elsewhere = isinstance(described, Pretrained) or (
        isinstance(described, dict) and "weights" in described
    )
    return "Pretrained" if elsewhere else "Experiment"


AnyTeacher = Annotated[
    Annotated["Experiment", Tag("Experiment")] | Annotated[Pretrained, Tag("Pretrained")],
    Discriminator(_kind),
]


class Experiment(Value):
    """Data, model, teacher (itself an experiment, or none), noise, method, training and seed."""

    data: AnyData
    model: AnyModel
    teacher: AnyTeacher | None = None
    init: Init | None = None
    supervision: Supervision = Supervision()
    noise: Noise = Noise()
    method: AnyMethod = CrossEntropy()
    training: Training
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="before")
    @classmethod
    def _with_its_teacher(cls, data: Any, info: ValidationInfo) -> Any:
        """Only of the student itself: a teacher that is a value already is not validated again."""
        if not info.context or not isinstance(data, dict):
            return data
        return {**data, "teacher": info.context[TEACHER]}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for check in (
            _network_fits,
            _label_noise_fits,
            _teacher_is_asked,
            _teacher_fits,
            _supervision_makes_sense,
            _logarithms_of_votes_are_not_compared,
            _mixed_labels_are_understood,
        ):
            check(self)
        smoothing = self.supervision.smoothing
        teacher = None if self.teacher is None else TrainedTeacher(self.teacher.network, smoothing)
        self.method.check_fits(self.network, teacher)
        return self

    @property
    def network(self) -> Described:
        """What the student's network is built from."""
        return Described(self.model, self.data.shape, self.data.classes)

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits; equal experiments are the same trial."""
        return fingerprint(self)

    @property
    def point_id(self) -> str:
        """The identity of the point that the trial is a replicate of: the fingerprint of the
        experiment with its own seed and that of its teacher set to 0. A seed further up is none
        that a sweep chooses among, but as it is written."""
        teacher = self.teacher
        if isinstance(teacher, Experiment):
            teacher = teacher.model_copy(update={"seed": 0})
        return fingerprint(self.model_copy(update={"seed": 0, "teacher": teacher}))

    @classmethod
    def parse(cls, data: object, where: str = "") -> Experiment:
        """An experiment from plain JSON values; :class:`kdray.core.InputError` if it is none."""
        return parse(cls, data, where)

    @classmethod
    def taught(cls, data: object, teacher: AnyTeacher | None, where: str = "") -> Experiment:
        """The experiment of plain JSON values, whose teacher is ``teacher`` as it is."""
        return parse(cls, data, where, {TEACHER: teacher})

    not_columns: ClassVar[frozenset[str]] = frozenset({"seed"})
    """Leaves that the trials table has among its own columns."""


AnyTrial = Annotated[
    Annotated[Experiment, Tag("Experiment")] | Annotated[Pretrained, Tag("Pretrained")],
    Discriminator(_kind),
]
"""What the results hold a trial of: what kdray trained, and what was trained elsewhere."""


def parse_trial(data: object, where: str = "") -> AnyTrial:
    """A trial from plain JSON values; :class:`kdray.core.InputError` if it is none."""
    if _kind(data) == "Pretrained":
        return Pretrained.parse(data, where)
    return Experiment.parse(data, where)


def stored_experiment(text: str, trial_id: str, where: str) -> AnyTrial:
    """The experiment of a trial in the results, from its row; ``where`` names the row in messages.

    :class:`kdray.core.InputError` if the same text is another trial now, because a component has
    got a new version: its weights are not what this description would be trained to.
    """
    experiment = parse_trial(json.loads(text), where)
    if experiment.trial_id != trial_id:
        raise InputError(
            f"{where} was made by another version of kdray: its description is trial "
            f"{experiment.trial_id} now; 'kdray run' on its sweep trains it anew"
        )
    return experiment


def _network_fits(experiment: Experiment) -> None:
    """The network can be built for the images, and what is repeated while it trains differs."""
    model, data, monitor = experiment.model, experiment.data, experiment.training.monitor
    try:
        stage_shapes(*experiment.network)
    except InputError as error:
        raise ValueError(f"model.{error}") from None
    except Exception as error:  # of many kinds, where a plug-in builds the network
        reason = " ".join(str(error).split())
        if not isinstance(error, RuntimeError):
            reason = f"{type(error).__name__}: {reason}"
        raise ValueError(
            f"model: {model.name} cannot take images of {_times(data.shape)}: {reason}"
        ) from None
    if experiment.training.batch_size == 1 and smallest_batch(*experiment.network) > 1:
        raise ValueError(
            f"training.batch_size: 1 is too few for {model.name}, whose batch normalisation sees "
            f"one value of a channel in each image of {_times(data.shape)} (allowed: 2 or more)"
        )
    for evaluation in monitor.suite if monitor is not None else ():
        if not says_something(evaluation.smoothing, experiment):
            raise ValueError(
                f"training.monitor.suite: {label_of(evaluation)} smooths a model that draws nothing"
            )


def _label_noise_fits(experiment: Experiment) -> None:
    """The labels that it makes are classes that are trained on."""
    noise, data = experiment.noise.labels, experiment.data
    problem = None if noise is None else noise.misfit(data.classes, data.omit_classes)
    if problem is not None:
        raise ValueError(f"noise.labels.{problem}")


def says_something(smoothing: Smoothing | None, experiment: AnyTrial) -> bool:
    """Whether the passes of a smoothed model differ."""
    return (
        smoothing is None
        or smoothing.samples == 1
        or smoothing.sigma > 0
        or is_stochastic(*experiment.network)
    )


def _teacher_is_asked(experiment: Experiment) -> None:
    """A method that asks has somebody who answers, and somebody who would answer is asked."""
    method, teacher, virtual = experiment.method, experiment.teacher, experiment.supervision.virtual
    if teacher is not None and virtual is not None:
        raise ValueError(
            "supervision.virtual: stands in for a trained teacher, and there is one: set "
            "one of them to null"
        )
    if method.asks_teacher and teacher is None and virtual is None:
        raise ValueError(f"method {method.name} needs a teacher, and there is none")
    if not method.asks_teacher and (teacher is not None or virtual is not None):
        who = "teacher" if teacher is not None else "supervision.virtual"
        raise ValueError(
            f"method {method.name} asks no teacher: set {who} to null, or choose another method"
        )
    if teacher is None and virtual is None and (asked := experiment.supervision.asks) is not None:
        raise ValueError(f"supervision.{asked}: there is no teacher whose answer it could change")


def _teacher_fits(experiment: Experiment) -> None:
    """The teacher knows the student's images and classes."""
    teacher, data = experiment.teacher, experiment.data
    if teacher is None:
        return
    if teacher.data.classes != data.classes:
        raise ValueError(
            f"teacher.data.name: {teacher.data.name} has {teacher.data.classes} classes, "
            f"the student's {data.name} has {data.classes}"
        )
    if teacher.data.shape != data.shape:
        raise ValueError(
            f"teacher.data: the teacher's images are {_times(teacher.data.shape)} "
            f"(channels x height x width), the student's {_times(data.shape)}"
        )


def _supervision_makes_sense(experiment: Experiment) -> None:
    """What is asked of the teacher, it can do."""
    supervision, teacher = experiment.supervision, experiment.teacher
    live, smoothing, noise = (
        supervision.dropout == "active",
        supervision.smoothing,
        experiment.noise,
    )
    if noise.teacher_sees == "noisy" and (noise.input is None or teacher is None):
        lacking = "noise.input" if noise.input is None else "trained teacher"
        raise ValueError(f"noise.teacher_sees: noisy, but there is no {lacking}")
    if teacher is None:
        if live or smoothing is not None:
            raise ValueError(
                f"supervision.{'dropout' if live else 'smoothing'}: a virtual teacher has "
                "no network"
            )
        return
    if live and not has_dropout(*teacher.network):
        raise ValueError(
            "supervision.dropout: active, but the teacher has no dropout "
            "(teacher.model.dropout is 0)"
        )
    if live or says_something(smoothing, teacher):
        return
    assert smoothing is not None
    raise ValueError(
        f"supervision.smoothing: the teacher answers the same in all of {smoothing.samples} "
        "passes; give it noise "
        "(smoothing.sigma, teacher.model.input_sigma or weight_noise, or dropout: active)"
    )


def _logarithms_of_votes_are_not_compared(experiment: Experiment) -> None:
    """A share of 0 has no logarithm that a mean over classes, or a difference, could be taken
    of."""
    smoothing, method = experiment.supervision.smoothing, experiment.method
    if smoothing is None or smoothing.aggregate != "prediction":
        return
    halves = [getattr(method, name) for name in type(method).model_fields]
    if any(getattr(part, "logit_standardization", False) for part in (method, *halves)):
        raise ValueError(
            "supervision.smoothing.aggregate: prediction gives shares of votes, 0 among them, "
            "which logit_standardization cannot compare (allowed: soft_prediction, logits)"
        )
    if getattr(method, "indirect_gradient", None) is not None:
        raise ValueError(
            "supervision.smoothing.aggregate: prediction gives shares of votes, 0 among them, "
            "whose logarithms method.indirect_gradient cannot subtract (allowed: soft_prediction, "
            "logits)"
        )


def _mixed_labels_are_understood(experiment: Experiment) -> None:
    """Whoever is given labels that are mixed takes distributions over classes."""
    mixing = [each.name for each in experiment.training.transforms if each.mixes_labels]
    if not mixing:
        return
    method = experiment.method
    if not method.takes_distributions:
        allowed = ", ".join(
            str(tag_of(kind))
            for kind in value_types(AnyMethod)
            if issubclass(kind, Method) and kind.takes_distributions
        )
        raise ValueError(
            f"training.transforms: {mixing[0]} mixes labels, and method {method.name} needs one "
            f"label for each image (allowed: {allowed})"
        )
    if experiment.supervision.virtual is not None:
        raise ValueError(
            f"training.transforms: {mixing[0]} mixes labels, and a virtual teacher answers for one"
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@of_all_members
def configuration_columns() -> dict[str, type]:
    """The configuration columns of the trials table: every dotted path below an experiment with its
    type."""
    return {
        path: kind
        for path, kind in leaf_types(Experiment).items()
        if path not in Experiment.not_columns
    }


@of_all_members
def loss_columns() -> dict[str, type]:
    """The loss-term columns of the epochs table: the terms of every method."""
    return {
        f"loss.{term}": float
        for method in value_types(AnyMethod)
        if issubclass(method, Method)
        for term in method.term_names()
    }


def configuration(experiment: AnyTrial) -> dict[str, Any]:
    """``experiment`` as configuration columns."""
    found = leaves(experiment, configuration_columns())
    if isinstance(experiment, Pretrained):
        found.pop("data.normalization", None)  # its own counts
    return found
