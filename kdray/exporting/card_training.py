"""The training part of a model card: how the model came about, and which sweeps ask for it."""

from __future__ import annotations

from kdray.exporting.loading import Trial
from kdray.exporting.markdown import code, described
from kdray.perturbations import Noise
from kdray.results import Results
from kdray.results.schema import NOT_NEEDED
from kdray.teachers import Pretrained
from kdray.trials.experiment import Experiment


def facts(trial: Trial, results: Results) -> list[tuple[str, str]]:
    """The rows of the card's table about the training: part and value."""
    experiment = trial.experiment
    if isinstance(experiment, Pretrained):
        return [
            ("model", code(described(experiment.model))),
            ("training", "elsewhere; kdray knows the weights only"),
            ("weights", code(experiment.weights)),
            ("part of", _sweeps(trial.trial_id, results)),
        ]
    lines = [
        ("model", code(described(experiment.model))),
        ("method", code(described(experiment.method))),
        ("teacher", _teacher(experiment, results)),
    ]
    if experiment.method.asks_teacher:
        lines.append(("how the teacher is asked", code(described(experiment.supervision))))
    noise = "none" if experiment.noise == Noise() else code(described(experiment.noise))
    return [
        *lines,
        ("noise on images and labels", noise),
        ("optimisation", code(described(experiment.training))),
        ("seed", str(experiment.seed)),
        ("part of", _sweeps(trial.trial_id, results)),
    ]


def _teacher(experiment: Experiment, results: Results) -> str:
    if experiment.teacher is None:
        return "none"
    trials = results.trials(
        ["val_accuracy", "test_accuracy"], [("trial_id", "==", experiment.teacher.trial_id)]
    )
    text = f"{code(experiment.teacher.trial_id)}: {code(described(experiment.teacher.model))}"
    for _, row in trials.iterrows():  # one, or none where the folder has it no more
        text += f", accuracy {row['val_accuracy']:.4f} (val), {row['test_accuracy']:.4f} (test)"
    return text


def _sweeps(trial_id: str, results: Results) -> str:
    names = sweeps_of(trial_id, results)
    return ", ".join(f"sweep {code(sweep)}" for sweep in names) or "no sweep"


def sweeps_of(trial_id: str, results: Results) -> list[str]:
    """The sweeps that ask for the trial."""
    asked = [("trial_id", "==", trial_id), ("outcome", "!=", NOT_NEEDED)]
    return list(dict.fromkeys(results.members(["sweep"], asked)["sweep"]))
