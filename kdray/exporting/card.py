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
from kdray.exporting import card_data, card_training
from kdray.exporting.agreement import TOLERANCE
from kdray.exporting.formats import FORMATS, FormatName
from kdray.exporting.hub import front_matter
from kdray.exporting.loading import Trial
from kdray.exporting.markdown import code, table
from kdray.exporting.robustness import sections
from kdray.exporting.snippets import NOTES, program
from kdray.exporting.trained import NoiseMode
from kdray.machine import hardware
from kdray.results import Results
from kdray.results.points.wilson import wilson
from kdray.teachers import Pretrained
from kdray.trials.experiment import AnyTrial


class Share(NamedTuple):
    """How many of the examples a model gets right."""

    correct: float
    examples: int


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says that the results do not hold."""

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


def card(facts: CardFacts, results: Results) -> str:
    """The card in Markdown."""
    experiment = facts.trial.experiment
    robustness = _robustness(facts.trial.trial_id, results)
    parts = [
        f"# {experiment.model.name} on {experiment.data.name}, {_made(experiment)}",
        _summary(facts),
        "## How to load it",
        f"```python\n{program(facts.format, experiment.data.shape)}\n```",
        NOTES[facts.format],
        *_needs_plugin(facts),
        *_sameness(facts),
        "## Data",
        *card_data.paragraphs(experiment, facts.counts),
        "## Training",
        table(("part", "value"), card_training.facts(facts.trial, results)),
        "## Accuracy",
        *_accuracy(facts),
        "## Robustness",
        *([_OTHER_MODEL] if facts.noise == "off" else []),
        *sections(robustness),
        "## Limits",
        "\n".join(f"- {each}" for each in _limits(facts)),
        "## Size and origin",
        table(("fact", "value"), _origin(facts)),
        "<details><summary>The whole experiment, as kdray reads it</summary>",
        f"```json\n{json.dumps(canonical(experiment), indent=2)}\n```",
        "</details>",
    ]
    metadata = front_matter(facts.trial, robustness) if facts.format == "huggingface" else ""
    return metadata + "\n\n".join(parts) + "\n"


_OTHER_MODEL = (
    "**These numbers are not this file's.** They were measured with the noise that the "
    "model was trained with; the exported "
    "model has none, and how robust it is was not measured."
)


def _summary(facts: CardFacts) -> str:
    experiment = facts.trial.experiment
    channels, height, width = experiment.data.shape
    teacher = experiment.teacher
    taught = (
        ""
        if teacher is None
        else f" It learned from a {teacher.model.name} ({code(teacher.trial_id)})."
    )
    return (
        f"An image classifier ({FORMATS[facts.format].title}): trial "
        f"{code(facts.trial.trial_id)} of a kdray sweep."
        f"{taught} It takes images (N, {channels}, {height}, {width}) as float32 in [0, 1] "
        "and returns logits "
        f"(N, {experiment.data.classes}), one for each class; their softmax are its probabilities."
    )


def _needs_plugin(facts: CardFacts) -> list[str]:
    """What has to be there before kdray can build the network."""
    if facts.format not in ("safetensors", "huggingface"):
        return []
    described = facts.trial.experiment
    homes = (type(described.model).__module__, type(described.data).__module__)
    modules = sorted({home for home in homes if not home.startswith("kdray.")})
    return [
        f"It has parts that are none of kdray's own: before `load_model` call "
        f"`kdray.load_plugin(…)` with the file or package of {code(module)}."
        for module in modules
    ]


def _sameness(facts: CardFacts) -> list[str]:
    """How the file was compared, and what becomes of a model that draws."""
    found = ", ".join(
        f"{difference:.2g} on {images}" for images, difference in facts.differences.items()
    )
    compared = (
        "After writing, the file was read back and asked beside the model in kdray: the "
        f"logits differ by at most {found} "
        f"(allowed: {TOLERANCE:g}; of the largest logit where that is above 1)."
    )
    if facts.draws:
        return [
            f"{compared} Both drew the same noise for that.",
            "**Its answers are random.** It adds noise to its image or its weights at "
            "every pass, from torch's global "
            "generator (`torch.manual_seed`); noise on weights is the same for all images "
            "of a batch. Average the softmax of "
            "several passes for a steadier answer.",
        ]
    if facts.noise == "off":
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


def _made(experiment: AnyTrial) -> str:
    if isinstance(experiment, Pretrained):
        return "trained elsewhere"
    return f"method {experiment.method.name}"


def _robustness(trial_id: str, results: Results) -> pd.DataFrame:
    """The numbers of the trial, under the labels that the first of its sweeps gives evaluations."""
    sweep, *_ = [*card_training.sweeps_of(trial_id, results), None]
    return results.robustness(where=[("trial_id", "==", trial_id)], sweep=sweep)


def _accuracy(facts: CardFacts) -> list[str]:
    """On the validation and the test split."""
    row, lines = facts.trial.row, []
    for split in ("val", "test"):
        value, count = float(str(row[f"{split}_accuracy"])), facts.counts.get(split)
        lines.append(
            (split, *_with_interval(None if count is None else Share(value * count, count), value))
        )
    head = ("split", "accuracy", "low", "high", "examples")
    if facts.noise == "active":
        return [table(head, lines)]
    quiet = [
        (split, *_with_interval(share, share.correct / share.examples))
        for split, share in facts.quiet.items()
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


def _limits(facts: CardFacts) -> list[str]:
    data = facts.trial.experiment.data
    elsewhere = isinstance(facts.trial.experiment, Pretrained)
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
    if facts.draws:
        limits.insert(0, "It answers at random (see above): one pass of one image is no verdict.")
    if facts.noise == "off":
        limits.insert(0, "Its robustness was not measured in this form (see above).")
    return limits


def _origin(facts: CardFacts) -> list[tuple[str, str]]:
    row, now = facts.trial.row, hardware.facts()
    made = f"{_day(row['finished_at'])}"
    if isinstance(facts.trial.experiment, Pretrained):
        made, what = f"{made}, on {code(row['device'])}", "measured"
    else:
        seconds, what = float(str(row["train_seconds"])), "trained"
        made = f"{made}, in {duration(seconds)}, on {code(row['device'])}"
    return [
        ("parameters", f"{int(row['parameters']):,}"),
        ("multiply-accumulates for an image", f"{int(row['macs']):,}"),
        ("file", f"{FORMATS[facts.format].file}, {file_size(facts.bytes)}"),
        (what, made),
        (f"{what} with", _versions(row)),
        ("exported with", _versions(now)),
    ]


def _day(when: object) -> str:
    return f"{when:%Y-%m-%d}" if isinstance(when, pd.Timestamp) else "on a day that is not known"


def _versions(machine: Mapping[str, object]) -> str:
    commit = machine["git_commit"]
    at = f" (commit {code(commit[:12])})" if isinstance(commit, str) else ""
    libraries = "".join(
        f", {name} {machine[column]}"
        for name in ("torchvision", "timm")
        if isinstance(machine.get(column := f"{name}_version"), str)
    )
    return (
        f"kdray {machine['kdray_version']}{at}, torch {machine['torch_version']}{libraries}, "
        f"Python {machine['python_version']}"
    )
