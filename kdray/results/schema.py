"""The four tables: every column with its type, unit, role and meaning, written down once.

The configuration columns of ``trials`` (``data.name``, ``method.temperature``, …) and the loss
terms of ``epochs`` follow from the types of an experiment, which this package must not import (it
loads neither torch nor ray): whoever writes hands them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from kdray.results.columns import AXIS, KEY, MEASURE, NOTE, Column, ColumnRole

SCHEMA_VERSION = 2
"""Raised when a column changes its meaning; added columns do not raise it."""

TableName = Literal["members", "trials", "epochs", "robustness"]

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
ARROW = {str: _TEXT, int: _INT, float: _FLOAT, bool: _BOOL}

_WRITTEN = Column(
    "written_at",
    NOTE,
    _TIME,
    "UTC",
    "when this row was written; of rows with the same key the newest counts",
)
_TRIAL = Column(
    "trial_id", KEY, _TEXT, "", "identity of the trial: a hash of its experiment's canonical JSON"
)
_REASON_KIND = Column(
    "reason_kind",
    NOTE,
    _TEXT,
    "",
    "what the error is of: machine, memory (of a GPU), device (a GPU that failed), experiment, "
    "input (a file that the node lacks); the same command tries all but experiment again; none in "
    "files of version 1",
)

TABLES: dict[TableName, tuple[Column, ...]] = {
    "members": (
        Column("sweep", KEY, _TEXT, "", "name of the sweep"),
        Column("role", KEY, _TEXT, "", "teacher or student, in this sweep"),
        Column("case", KEY, _TEXT, "", "name of the case, if the sweep has cases"),
        Column("swept", KEY, _TEXT, "JSON", "what distinguishes the point: swept path to value"),
        _TRIAL,
        Column(
            "point_id",
            NOTE,
            _TEXT,
            "",
            "identity of the point: a hash of its experiment without its own seed and its "
            "teacher's; none for a teacher",
        ),
        Column("point", NOTE, _INT, "", "number of the point, for people; none for a teacher"),
        Column("order", NOTE, _INT, "", "position among the sweep's teachers, or its students"),
        Column(
            "outcome",
            MEASURE,
            _TEXT,
            "",
            "completed, pruned, failed, or not needed (the sweep's file no longer asks for it, or "
            "no longer gives it up by what it was given up by)",
        ),
        Column(
            "earlier_outcome",
            NOTE,
            _TEXT,
            "",
            "where the outcome is not needed: what it was before; in other rows none",
        ),
        Column("error", NOTE, _TEXT, "", "why the outcome is failed, or was given up"),
        _REASON_KIND,
        Column(
            "judged_by",
            NOTE,
            _TEXT,
            "",
            "identity of what may give the student up: early stopping (its point's first seed) or "
            "racing (the others), with what they compare by; none where nothing does, and in "
            "earlier files",
        ),
        Column(
            "teacher_selection",
            NOTE,
            _TEXT,
            "",
            "how the student's teacher was chosen: best_validation, best_test or each",
        ),
        Column(
            "teacher_candidates",
            NOTE,
            _TEXT,
            "JSON",
            "teachers it was chosen from: trial_id, seed and accuracy of each",
        ),
        _WRITTEN,
    ),
    "trials": (
        _TRIAL,
        Column("role", NOTE, _TEXT, "", "teacher or student, when it was first asked for"),
        Column("teacher_id", NOTE, _TEXT, "", "trial_id of the student's teacher"),
        Column(
            "experiment",
            NOTE,
            _TEXT,
            "JSON",
            "the complete description; fields at their default are left out",
        ),
        Column(
            "seed", NOTE, _INT, "", "replicate: of initialisation, data order and every noise draw"
        ),
        Column(
            "status",
            NOTE,
            _TEXT,
            "",
            "completed, imported (trained elsewhere), diverged (a loss was not finite) or failed",
        ),
        Column("error", NOTE, _TEXT, "", "why it diverged or failed"),
        Column(
            "imported_weights", NOTE, _TEXT, "", "of an imported trial: the digest of its tensors"
        ),
        _REASON_KIND,
        Column(
            "val_accuracy",
            MEASURE,
            _FLOAT,
            "fraction",
            "on the validation split, with the stored weights",
        ),
        Column(
            "test_accuracy",
            MEASURE,
            _FLOAT,
            "fraction",
            "on the test split, with the stored weights; nothing is chosen by it",
        ),
        Column("kept_epoch", MEASURE, _INT, "epochs", "training epochs behind the stored weights"),
        Column("parameters", MEASURE, _INT, "", "learned numbers, with biases and batch norm"),
        Column("weights", MEASURE, _INT, "", "of convolutions and linear layers, without biases"),
        Column(
            "macs",
            MEASURE,
            _INT,
            "",
            "multiply-accumulates of convolutions and linear layers for one image",
        ),
        Column(
            "images_per_second",
            NOTE,
            _FLOAT,
            "1/s",
            "inference, batches of 128, on the trial's device and threads",
        ),
        Column(
            "train_seconds",
            NOTE,
            _FLOAT,
            "s",
            "in epochs, validation included, over all resumptions",
        ),
        Column(
            "peak_memory",
            NOTE,
            _INT,
            "bytes",
            "of training: on the GPU what the allocator reserved and 640 MiB for CUDA, "
            "else the process with what it shares",
        ),
        Column(
            "threads", NOTE, _INT, "", "of torch on the CPU; part of what makes numbers bit-exact"
        ),
        Column(
            "channels_last",
            NOTE,
            _BOOL,
            "",
            "whether it was trained with the colours of a pixel side by side; so is this",
        ),
        Column(
            "compiled",
            NOTE,
            _BOOL,
            "",
            "whether it was trained with kernels of torch.compile; so is this",
        ),
        Column(
            "device", NOTE, _TEXT, "", "GPU name (with its MIG slice), or cpu: the kind that pairs"
        ),
        Column("gpu", NOTE, _FLOAT, "", "share of a GPU that it was given"),
        Column("gpu_busy", NOTE, _FLOAT, "", "of its time, by one such trial alone (gpu: auto)"),
        Column("device_memory", NOTE, _INT, "bytes", "of the whole GPU"),
        Column(
            "retried", NOTE, _TEXT, "", "why it was run again: how much of a GPU was too little"
        ),
        Column("cpu", NOTE, _TEXT, "", "processor name"),
        Column("host", NOTE, _TEXT, "", "machine name"),
        Column("kdray_version", NOTE, _TEXT),
        Column("python_version", NOTE, _TEXT),
        Column("torch_version", NOTE, _TEXT),
        Column("torchvision_version", NOTE, _TEXT),
        Column("timm_version", NOTE, _TEXT, "", "none where it is not installed"),
        Column("ray_version", NOTE, _TEXT),
        Column("git_commit", NOTE, _TEXT, "", "of kdray's source, if it runs from a checkout"),
        Column("started_at", NOTE, _TIME, "UTC", "first time that training began"),
        Column("finished_at", NOTE, _TIME, "UTC"),
        _WRITTEN,
    ),
    "epochs": (
        _TRIAL,
        Column("stage", KEY, _TEXT, "", "stage of the method"),
        Column("epoch", KEY, _INT, "epochs", "training epochs done, from 1"),
        Column("learning_rate", NOTE, _FLOAT, "", "during this epoch"),
        Column(
            "loss",
            MEASURE,
            _FLOAT,
            "",
            "mean over the training examples, weighted as the method says",
        ),
        Column(
            "train_accuracy",
            MEASURE,
            _FLOAT,
            "fraction",
            "on the batches as trained on: noise, augmentation, corrupted labels",
        ),
        Column("val_loss", MEASURE, _FLOAT, "", "cross-entropy on the clean validation split"),
        Column("val_accuracy", MEASURE, _FLOAT, "fraction", "on the clean validation split"),
        Column("images_per_second", NOTE, _FLOAT, "1/s", "trained on, without validation"),
        Column("seconds", NOTE, _FLOAT, "s", "validation included"),
        _WRITTEN,
    ),
    # Axes in the order in which they stand in the brackets of a number's name.
    "robustness": (
        _TRIAL,
        Column(
            "evaluation_id",
            KEY,
            _TEXT,
            "",
            "identity of the evaluation: a hash of its canonical JSON without the label",
        ),
        Column("label", NOTE, _TEXT, "", "what the sweep that first asked called it"),
        Column("evaluation", NOTE, _TEXT, "", "its kind: clean, gaussian_noise, pgd, …"),
        Column("metric", AXIS, _TEXT, "", "accuracy, loss, …"),
        Column("value", MEASURE, _FLOAT, "", "the number; accuracies are fractions"),
        Column("correct", MEASURE, _INT, "examples", "of an accuracy: how many were right"),
        Column("split", AXIS, _TEXT, "", "val or test; train for what was kept while training"),
        Column("dataset", AXIS, _TEXT, "", "name of the data set it was measured on"),
        Column("examples", AXIS, _INT, "examples", "how many were measured"),
        Column("norm", AXIS, _TEXT, "", "of the attack's ball: linf or l2"),
        Column("epsilon", AXIS, _FLOAT, "pixel units", "radius of the ball, images in [0, 1]"),
        Column("step_size", AXIS, _FLOAT, "pixel units", "of the attack, absolute"),
        Column("steps", AXIS, _INT, "", "of the attack"),
        Column("restarts", AXIS, _INT, "", "of the attack, from random starts"),
        Column("samples", AXIS, _INT, "", "passes of a model that draws, or points sampled"),
        Column("sigma", AXIS, _FLOAT, "pixel units", "standard deviation of Gaussian noise"),
        Column("corruption", AXIS, _TEXT, "", "kind of corruption"),
        Column("severity", AXIS, _INT, "", "of the corruption, 1 to 5"),
        Column(
            "snr",
            AXIS,
            _FLOAT,
            "dB or ratio",
            "signal-to-noise ratio, in the unit of the evaluation",
        ),
        Column("peak", AXIS, _FLOAT, "photons", "Poisson noise: mean count at white"),
        Column("side", AXIS, _INT, "pixels", "of the square that occludes"),
        Column("class", AXIS, _INT, "", "of a number for one class", part=True),
        Column(
            "image",
            AXIS,
            _INT,
            "",
            "of a number for one image: its position in the split",
            part=True,
        ),
        Column("layer", AXIS, _TEXT, "", "of a number for one layer", part=True),
        Column("epoch", AXIS, _INT, "epochs", "of a number taken during training", part=True),
        Column(
            "source_trial_id",
            KEY,
            _TEXT,
            "",
            "of a transfer attack: the model that the examples were made on",
        ),
        Column("evaluation_parameters", NOTE, _TEXT, "JSON", "the complete evaluation"),
        Column("checks", NOTE, _TEXT, "", "reasons not to trust the number"),
        Column("error", NOTE, _TEXT, "", "why there is no number; metric and value are empty then"),
        _REASON_KIND,
        Column("seconds", NOTE, _FLOAT, "s", "that the whole evaluation took"),
        _WRITTEN,
    ),
}

TRAINED_STATUS = ("completed", "imported")
"""Of trials that have a trained model."""
PRUNED, NOT_NEEDED = "pruned", "not needed"
"""Values of the column ``outcome`` of members: the sweep gave the trial up; its file no longer asks
for it, or for what gave it up."""

RENAMED: dict[TableName, dict[str, str]] = {
    "members": {"parameters": "swept"},
    "robustness": {"parameters": "evaluation_parameters"},
}
"""The columns of schema version 1 that have another name today."""

EXTRA: dict[TableName, str] = {
    "trials": "part of the experiment",
    "epochs": "loss term, unweighted, mean over the examples",
}
"""Meaning of the columns that are handed in."""


def names(table: TableName, *roles: ColumnRole) -> tuple[str, ...]:
    """The names of the columns of ``table`` that have one of ``roles``, in order."""
    return tuple(column.name for column in TABLES[table] if column.role in roles)


KEYS: dict[TableName, tuple[str, ...]] = {table: names(table, KEY) for table in TABLES}
AXES: dict[TableName, tuple[str, ...]] = {table: names(table, AXIS) for table in TABLES}
NUMBER_AXES = tuple(
    name
    for name in names("robustness", AXIS, KEY)
    if name not in ("trial_id", "evaluation_id", "metric")
)
"""The columns of robustness in which numbers with one label and metric differ: what stands in the
brackets of a number's name."""
PARTS = tuple(column.name for column in TABLES["robustness"] if column.part)
"""The axes of numbers about a part of the data or the model, or about an epoch."""


def columns(table: TableName, extra: Mapping[str, type]) -> tuple[Column, ...]:
    """The columns of ``table`` followed by the handed-in ones, sorted; a name that the table has
    itself is not repeated."""
    own = {column.name for column in TABLES[table]}
    added = [
        Column(name, NOTE, ARROW[extra[name]], "", EXTRA.get(table, ""))
        for name in sorted(extra)
        if name not in own
    ]
    return (*TABLES[table], *added)
