"""The four tables: every column with its type, unit and meaning, written down once.

The configuration columns of ``trials`` (``data.name``, ``method.temperature``, …) and the loss
terms of ``epochs`` follow from the types of an experiment, which this package must not import (it
loads neither torch nor ray): whoever writes hands them in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a column changes its meaning; added columns do not raise it."""

TableName = Literal["members", "trials", "epochs", "robustness"]

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.timestamp("us", tz="UTC")
ARROW = {str: _TEXT, int: _INT, float: _FLOAT, bool: _BOOL}


class Column(NamedTuple):
    """One column of a table."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


_WRITTEN = Column(
    "written_at",
    _TIME,
    "UTC",
    "when this row was written; of rows with the same key the newest counts",
)
_TRIAL = Column(
    "trial_id", _TEXT, "", "identity of the trial: a hash of its experiment's canonical JSON"
)
_REASON_KIND = Column(
    "reason_kind",
    _TEXT,
    "",
    "what the error is of: machine, memory (of a GPU), experiment, input (a file that the node "
    "lacks); the same command tries all but experiment again; none in files of version 1",
)

TABLES: dict[TableName, tuple[Column, ...]] = {
    "members": (
        Column("sweep", _TEXT, "", "name of the sweep"),
        _TRIAL,
        Column("role", _TEXT, "", "teacher or student, in this sweep"),
        Column("point", _INT, "", "number of the point of the search space; none for a teacher"),
        Column("case", _TEXT, "", "name of the case, if the sweep has cases"),
        Column("order", _INT, "", "position in the sweep; teachers and students are counted apart"),
        Column("parameters", _TEXT, "JSON", "what distinguishes the point: swept path to value"),
        Column(
            "outcome",
            _TEXT,
            "",
            "completed, pruned, failed, or not needed (the sweep's file no longer asks for it)",
        ),
        Column("error", _TEXT, "", "why the outcome is failed"),
        _REASON_KIND,
        Column(
            "teacher_selection",
            _TEXT,
            "",
            "how the student's teacher was chosen: best_validation, best_test or each",
        ),
        Column(
            "teacher_candidates",
            _TEXT,
            "JSON",
            "teachers it was chosen from: trial_id, seed and accuracy of each",
        ),
        _WRITTEN,
    ),
    "trials": (
        _TRIAL,
        Column("role", _TEXT, "", "teacher or student, when it was first asked for"),
        Column("teacher_id", _TEXT, "", "trial_id of the student's teacher"),
        Column(
            "experiment",
            _TEXT,
            "JSON",
            "the complete description; fields at their default are left out",
        ),
        Column("seed", _INT, "", "replicate: of initialisation, data order and every noise draw"),
        Column("status", _TEXT, "", "completed, diverged (a loss was not finite) or failed"),
        Column("error", _TEXT, "", "why it diverged or failed"),
        _REASON_KIND,
        Column(
            "val_accuracy", _FLOAT, "fraction", "on the validation split, with the stored weights"
        ),
        Column(
            "test_accuracy",
            _FLOAT,
            "fraction",
            "on the test split, with the stored weights; nothing is chosen by it",
        ),
        Column("kept_epoch", _INT, "epochs", "training epochs behind the stored weights"),
        Column("parameters", _INT, "", "learned numbers, with biases and batch norm"),
        Column("weights", _INT, "", "of convolutions and linear layers, without biases"),
        Column(
            "macs", _INT, "", "multiply-accumulates of convolutions and linear layers for one image"
        ),
        Column(
            "images_per_second",
            _FLOAT,
            "1/s",
            "inference, batches of 128, on the trial's device and threads",
        ),
        Column(
            "train_seconds", _FLOAT, "s", "in epochs, validation included, over all resumptions"
        ),
        Column(
            "peak_memory",
            _INT,
            "bytes",
            "of training: on the GPU what the allocator reserved and 640 MiB for CUDA, "
            "else the process with what it shares",
        ),
        Column("threads", _INT, "", "of torch on the CPU; part of what makes numbers bit-exact"),
        Column(
            "channels_last",
            _BOOL,
            "",
            "whether it was trained with the colours of a pixel side by side; so is this",
        ),
        Column(
            "compiled",
            _BOOL,
            "",
            "whether it was trained with kernels of torch.compile; so is this",
        ),
        Column("device", _TEXT, "", "GPU name, or cpu"),
        Column("gpu", _FLOAT, "", "share of a GPU that it was given"),
        Column("device_memory", _INT, "bytes", "of the whole GPU"),
        Column("retried", _TEXT, "", "why it was run again: how much of a GPU was too little"),
        Column("cpu", _TEXT, "", "processor name"),
        Column("host", _TEXT, "", "machine name"),
        Column("kdray_version", _TEXT, "", ""),
        Column("python_version", _TEXT, "", ""),
        Column("torch_version", _TEXT, "", ""),
        Column("ray_version", _TEXT, "", ""),
        Column("git_commit", _TEXT, "", "of kdray's source, if it runs from a checkout"),
        Column("started_at", _TIME, "UTC", "first time that training began"),
        Column("finished_at", _TIME, "UTC", ""),
        _WRITTEN,
    ),
    "epochs": (
        _TRIAL,
        Column("stage", _TEXT, "", "stage of the method"),
        Column("epoch", _INT, "epochs", "training epochs done, from 1"),
        Column("learning_rate", _FLOAT, "", "during this epoch"),
        Column("loss", _FLOAT, "", "mean over the training examples, weighted as the method says"),
        Column(
            "train_accuracy",
            _FLOAT,
            "fraction",
            "on the batches as trained on: noise, augmentation, corrupted labels",
        ),
        Column("val_loss", _FLOAT, "", "cross-entropy on the clean validation split"),
        Column("val_accuracy", _FLOAT, "fraction", "on the clean validation split"),
        Column("images_per_second", _FLOAT, "1/s", "trained on, without validation"),
        Column("seconds", _FLOAT, "s", "validation included"),
        _WRITTEN,
    ),
    "robustness": (
        _TRIAL,
        Column(
            "evaluation_id",
            _TEXT,
            "",
            "identity of the evaluation: a hash of its canonical JSON without the label",
        ),
        Column("label", _TEXT, "", "what the sweep called it"),
        Column("evaluation", _TEXT, "", "its kind: clean, gaussian_noise, pgd, …"),
        Column("split", _TEXT, "", "val or test; train for what was kept while training"),
        Column("dataset", _TEXT, "", "name of the data set it was measured on"),
        Column("metric", _TEXT, "", "accuracy, loss, …"),
        Column("value", _FLOAT, "", "the number; accuracies are fractions"),
        Column("correct", _INT, "examples", "of an accuracy: how many were right"),
        Column("examples", _INT, "examples", "how many were measured"),
        Column("class", _INT, "", "of a number for one class"),
        Column("image", _INT, "", "of a number for one image: its position in the split"),
        Column("layer", _TEXT, "", "of a number for one layer"),
        Column("epoch", _INT, "epochs", "of a number taken during training"),
        Column(
            "source_trial_id",
            _TEXT,
            "",
            "of a transfer attack: the model that the examples were made on",
        ),
        Column("norm", _TEXT, "", "of the attack's ball: linf or l2"),
        Column("epsilon", _FLOAT, "pixel units", "radius of the ball, images in [0, 1]"),
        Column("step_size", _FLOAT, "pixel units", "of the attack, absolute"),
        Column("steps", _INT, "", "of the attack"),
        Column("restarts", _INT, "", "of the attack, from random starts"),
        Column("samples", _INT, "", "passes of a model that draws, or points sampled"),
        Column("sigma", _FLOAT, "pixel units", "standard deviation of Gaussian noise"),
        Column("peak", _FLOAT, "photons", "Poisson noise: mean count at white"),
        Column("side", _INT, "pixels", "of the square that occludes"),
        Column("corruption", _TEXT, "", "kind of corruption"),
        Column("severity", _INT, "", "of the corruption, 1 to 5"),
        Column(
            "snr", _FLOAT, "dB or ratio", "signal-to-noise ratio, in the unit of the evaluation"
        ),
        Column("parameters", _TEXT, "JSON", "the complete evaluation"),
        Column("checks", _TEXT, "", "reasons not to trust the number"),
        Column("error", _TEXT, "", "why there is no number; metric and value are empty then"),
        _REASON_KIND,
        Column("seconds", _FLOAT, "s", "that the whole evaluation took"),
        _WRITTEN,
    ),
}

KEYS: dict[TableName, tuple[str, ...]] = {
    "members": ("sweep", "role", "case", "parameters", "trial_id"),
    "trials": ("trial_id",),
    "epochs": ("trial_id", "stage", "epoch"),
    "robustness": ("trial_id", "evaluation_id", "source_trial_id"),
}
"""Rows with the same key were written by one act; of several such acts the newest counts."""

EXTRA: dict[TableName, str] = {
    "trials": "part of the experiment",
    "epochs": "loss term, unweighted, mean over the examples",
}
"""Meaning of the columns that are handed in."""


def columns(table: TableName, extra: Mapping[str, type]) -> tuple[Column, ...]:
    """The columns of ``table`` followed by the handed-in ones, sorted; a name that is there already
    is not repeated."""
    base = TABLES[table]
    known = {column.name for column in base}
    added = [
        Column(n, ARROW[extra[n]], "", EXTRA.get(table, ""))
        for n in sorted(extra)
        if n not in known
    ]
    return (*base, *added)


def arrow_schema(table: TableName, extra: Mapping[str, type]) -> pa.Schema:
    """The full Arrow schema of ``table``, with units and meanings as field metadata; version and a
    digest as its own."""
    fields = [
        pa.field(
            column.name, column.type, metadata={"unit": column.unit, "meaning": column.meaning}
        )
        for column in columns(table, extra)
    ]
    # Pages have checksums of their own; the digest is for the names and types, which stand in the
    # footer.
    digest = columns_digest(pa.schema(fields))
    return pa.schema(
        fields, metadata={"kdray_schema": str(SCHEMA_VERSION), "kdray_columns": digest}
    )


def columns_digest(schema: pa.Schema) -> bytes:
    """Of names and types, by which a reader notices a footer that has changed."""
    text = "\n".join(
        f"{name}:{kind}" for name, kind in zip(schema.names, schema.types, strict=True)
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest().encode()


def description() -> str:
    """The tables as JSON, for the file ``schema.json`` that stands beside them."""
    tables = {
        name: [
            {"name": c.name, "type": str(c.type), "unit": c.unit, "meaning": c.meaning}
            for c in listed
        ]
        for name, listed in TABLES.items()
    }
    return json.dumps({"kdray_schema": SCHEMA_VERSION, "tables": tables}, indent=1)
