"""The model card: what a model is, what it was trained on, how well it does, how far to trust that,
how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from kdray.core import canonical
from kdray.core.wording import duration, file_size
from kdray.data import ImageData
from kdray.exporting.agreement import TOLERANCE
from kdray.exporting.formats import FORMATS, FormatName
from kdray.exporting.hub import front_matter
from kdray.exporting.loading import Trial
from kdray.exporting.markdown import code, described, table
from kdray.exporting.robustness import sections
from kdray.exporting.snippets import NOTES, program
from kdray.exporting.trained import NoiseMode
from kdray.machine import hardware
from kdray.perturbations import Noise
from kdray.results import Results
from kdray.results.points.wilson import wilson
from kdray.results.schema import NOT_NEEDED
from kdray.teachers import Pretrained
from kdray.trials.experiment import AnyTrial, Experiment

NORMALIZATIONS = {
    "none": "Nothing is done to the pixels.",
    "standardize": "Inside the model every channel is brought to mean 0 and standard deviation 1 "
    "of the training images.",
    "gcn": "Inside the model every image is brought to mean 0 and norm 55 (global contrast "
    "normalisation).",
    "gcn_zca": "Inside the model every image is brought to mean 0 and norm 55, then whitened "
    "(ZCA of the training images).",
}


class Share(NamedTuple):
    """So many of so many."""

    correct: float
    examples: int


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card tells beside the results."""

    trial: Trial
    format: FormatName
    noise: NoiseMode
    draws: bool
    """Whether the exported model answers at random."""
    differences: dict[str, float]
    """From the model that was measured, by the images that were asked."""
    bytes: int
    """Of the model file."""
    counts: dict[str, int]
    """Images by split, if the data were there."""
    quiet: dict[str, Share]
    """By split: what a model whose noise was taken away gets right, if that was counted."""


def card(told: Card, results: Results) -> str:
    """The card in Markdown."""
    experiment = told.trial.experiment
    robustness = _robustness(told.trial.trial_id, results)
    parts = [
        f"# {experiment.model.name} on {experiment.data.name}, {_made(experiment)}",
        _summary(told),
        "## How to load it",
        f"```python\n{program(told.format, experiment.data.shape)}\n```",
        NOTES[told.format],
        *_needs_plugin(told),
        *_sameness(told),
        "## Data",
        *_data(experiment, told.counts),
        "## Training",
        table(("part", "value"), _training(told.trial, results)),
        "## Accuracy",
        *_accuracy(told),
        "## Robustness",
        *([_OTHER_MODEL] if told.noise == "off" else []),
        *sections(robustness),
        "## Limits",
        "\n".join(f"- {each}" for each in _limits(told)),
        "## Size and origin",
        table(("fact", "value"), _origin(told)),
        "<details><summary>The whole experiment, as kdray reads it</summary>",
        f"```json\n{json.dumps(canonical(experiment), indent=2)}\n```",
        "</details>",
    ]
    metadata = front_matter(told.trial, robustness) if told.format == "huggingface" else ""
    return metadata + "\n\n".join(parts) + "\n"


_OTHER_MODEL = (
    "**These numbers are not this file's.** They were measured with the noise that the "
    "model was trained with; the exported "
    "model has none, and how robust it is was not measured."
)


def _summary(told: Card) -> str:
    experiment = told.trial.experiment
    channels, height, width = experiment.data.shape
    teacher = experiment.teacher
    taught = (
        ""
        if teacher is None
        else f" It learned from a {teacher.model.name} ({code(teacher.trial_id)})."
    )
    return (
        f"An image classifier ({FORMATS[told.format].title}): trial "
        f"{code(told.trial.trial_id)} of a kdray sweep."
        f"{taught} It takes images (N, {channels}, {height}, {width}) as float32 in [0, 1] "
        "and returns logits "
        f"(N, {experiment.data.classes}), one for each class; their softmax are its probabilities."
    )


def _needs_plugin(told: Card) -> list[str]:
    """What has to be there before kdray can build the network."""
    if told.format not in ("safetensors", "huggingface"):
        return []
    described = told.trial.experiment
    homes = (type(described.model).__module__, type(described.data).__module__)
    modules = sorted({home for home in homes if not home.startswith("kdray.")})
    return [
        f"It has parts that are none of kdray's own: before `load_model` call "
        f"`kdray.load_plugin(…)` with the file or package of {code(module)}."
        for module in modules
    ]


def _sameness(told: Card) -> list[str]:
    """How the file was compared, and what becomes of a model that draws."""
    found = ", ".join(
        f"{difference:.2g} on {images}" for images, difference in told.differences.items()
    )
    compared = (
        "After writing, the file was read back and asked beside the model in kdray: the "
        f"logits differ by at most {found} "
        f"(allowed: {TOLERANCE:g}; of the largest logit where that is above 1)."
    )
    if told.draws:
        return [
            f"{compared} Both drew the same noise for that.",
            "**Its answers are random.** It adds noise to its image or its weights at "
            "every pass, from torch's global "
            "generator (`torch.manual_seed`); noise on weights is the same for all images "
            "of a batch. Average the softmax of "
            "several passes for a steadier answer.",
        ]
    if told.noise == "off":
        return [
            compared,
            "**Its noise was taken away.** The model was trained with noise on its image "
            "or its weights in every pass, also in "
            "inference. Here every weight is at its mean and nothing is added to the "
            "image: the same image always gets the "
            "same answer, but this is another model than the one that the results are "
            "about. It may be far worse: what follows "
            "a noisy layer, batch norm above all, has learned to expect the noise.",
        ]
    return [compared]


def _data(experiment: AnyTrial, counts: dict[str, int]) -> list[str]:
    data: ImageData = experiment.data
    if isinstance(experiment, Pretrained):
        data = data.model_copy(update={"normalization": "none"})
    channels, height, width = data.shape
    of_each = ", ".join(f"{count} {split}" for split, count in counts.items())
    there = (
        f"{of_each} images."
        if counts
        else "How many images each split has is not known here: the data were not there."
    )
    colour = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    native = "x".join(map(str, data.native_shape))
    steps = [
        f"Images are {colour}, {height} x {width} pixels; the data set's own are {native} "
        "(channels, height, width)."
    ]
    if data.channels not in (None, data.native_shape[0]):
        steps.append(
            "Colour is made grey by ITU-R 601 luma."
            if channels == 1
            else "A grey channel is repeated three times."
        )
    if data.resize is not None:
        steps.append(
            f"They are scaled to {data.resize} pixels a side, bilinear with antialiasing, "
            "and rounded to 8 bits."
        )
    if data.pad:
        steps.append(f"Then {data.pad} pixels of zero are added on every side.")
    if data.omit_classes:
        omitted = ", ".join(map(str, data.omit_classes))
        steps.append(f"Classes {omitted} were left out of training; validation and test have them.")
    if data.train_examples is not None or data.train_per_class is not None:
        steps.append("A part of the training images was trained on, chosen by class.")
    normalization = (
        "Its first layer normalises as where it was trained."
        if isinstance(experiment, Pretrained)
        else NORMALIZATIONS[data.normalization]
    )
    steps.append(f"Yours must come the same way, as numbers in [0, 1]. {normalization}")
    return [f"{code(described(data))}: {there}", " ".join(steps)]


def _made(experiment: AnyTrial) -> str:
    if isinstance(experiment, Pretrained):
        return "trained elsewhere"
    return f"method {experiment.method.name}"


def _training(trial: Trial, results: Results) -> list[tuple[str, str]]:
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
    known = results.trials(
        ["val_accuracy", "test_accuracy"], [("trial_id", "==", experiment.teacher.trial_id)]
    )
    told = f"{code(experiment.teacher.trial_id)}: {code(described(experiment.teacher.model))}"
    for _, row in known.iterrows():  # one, or none where the folder has it no more
        told += f", accuracy {row['val_accuracy']:.4f} (val), {row['test_accuracy']:.4f} (test)"
    return told


def _sweeps(trial_id: str, results: Results) -> str:
    names = _sweeps_of(trial_id, results)
    return ", ".join(f"sweep {code(sweep)}" for sweep in names) or "no sweep"


def _sweeps_of(trial_id: str, results: Results) -> list[str]:
    """The sweeps that ask for the trial."""
    asked = [("trial_id", "==", trial_id), ("outcome", "!=", NOT_NEEDED)]
    return list(dict.fromkeys(results.members(["sweep"], asked)["sweep"]))


def _robustness(trial_id: str, results: Results) -> pd.DataFrame:
    """The numbers of the trial, under the labels that the first of its sweeps gives evaluations."""
    sweep, *_ = [*_sweeps_of(trial_id, results), None]
    return results.robustness(where=[("trial_id", "==", trial_id)], sweep=sweep)


def _accuracy(told: Card) -> list[str]:
    """On the validation and the test split."""
    row, lines = told.trial.row, []
    for split in ("val", "test"):
        value, count = float(str(row[f"{split}_accuracy"])), told.counts.get(split)
        lines.append(
            (split, *_with_interval(None if count is None else Share(value * count, count), value))
        )
    head = ("split", "accuracy", "low", "high", "examples")
    if told.noise == "active":
        return [table(head, lines)]
    quiet = [
        (split, *_with_interval(share, share.correct / share.examples))
        for split, share in told.quiet.items()
    ]
    counted = "This file, counted when it was exported:"
    return [
        *(
            [counted, table(head, quiet)]
            if quiet
            else ["How accurate this file is was not counted: the data were not there."]
        ),
        "With its noise, as trained:",
        table(head, lines),
    ]


def _with_interval(share: Share | None, value: float) -> tuple[str, str, str, str]:
    """An accuracy with its 95 % Wilson interval, and of how many images."""
    if share is None:
        return f"{value:.4f}", "–", "–", "not known here"
    low, high = wilson(pd.Series([float(share.correct)]), pd.Series([float(share.examples)]))
    return f"{value:.4f}", f"{low[0]:.4f}", f"{high[0]:.4f}", str(share.examples)


def _limits(told: Card) -> list[str]:
    data = told.trial.experiment.data
    elsewhere = isinstance(told.trial.experiment, Pretrained)
    limits = [
        "It was trained elsewhere: on what, and how, is not known here."
        if elsewhere
        else "One training with one seed. How much other seeds differ is in the results of its "
        "sweep, not here.",
        f"It answers with one of {data.classes} classes whatever it is shown; it cannot say "
        "that it does not know.",
        "It was measured on the data named above and nothing else. Other cameras, subjects "
        "or preparations are other data.",
        "kdray checks neither bias nor safety: nothing here says that it is fit for "
        "decisions about people.",
    ]
    if told.draws:
        limits.insert(0, "It answers at random (see above): one pass of one image is no verdict.")
    if told.noise == "off":
        limits.insert(0, "Its robustness was not measured in this form (see above).")
    return limits


def _origin(told: Card) -> list[tuple[str, str]]:
    row, now = told.trial.row, hardware.facts()
    made = f"{_day(row['finished_at'])}"
    if isinstance(told.trial.experiment, Pretrained):
        made, what = f"{made}, on {code(row['device'])}", "measured"
    else:
        seconds, what = float(str(row["train_seconds"])), "trained"
        made = f"{made}, in {duration(seconds)}, on {code(row['device'])}"
    return [
        ("parameters", f"{int(row['parameters']):,}"),
        ("multiply-accumulates for an image", f"{int(row['macs']):,}"),
        ("file", f"{FORMATS[told.format].file}, {file_size(told.bytes)}"),
        (what, made),
        (f"{what} with", _versions(row)),
        ("exported with", _versions(now)),
    ]


def _day(when: object) -> str:
    return f"{when:%Y-%m-%d}" if isinstance(when, pd.Timestamp) else "on a day that is not known"


def _versions(facts: Mapping[str, object]) -> str:
    commit = facts["git_commit"]
    at = f" (commit {code(commit[:12])})" if isinstance(commit, str) else ""
    libraries = "".join(
        f", {name} {facts[column]}"
        for name in ("torchvision", "timm")
        if isinstance(facts.get(column := f"{name}_version"), str)
    )
    return (
        f"kdray {facts['kdray_version']}{at}, torch {facts['torch_version']}{libraries}, Python "
        f"{facts['python_version']}"
    )
