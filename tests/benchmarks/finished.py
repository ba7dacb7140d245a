"""Results folders of any size in seconds: one trial is written by kdray, its rows are multiplied,
and kdray merges them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.core import canonical_json
from kdray.results import TABLES, Row, Store, TableName, write_rows
from kdray.results.files.compact import merge_small
from kdray.results.files.parquet_bytes import parquet_bytes
from kdray.sweep.scheduling.merging import MAX_SMALL_FILES_AT_END
from kdray.trials.experiment import Experiment, configuration, configuration_columns, loss_columns

SEEDS, EPOCHS = 5, 20
CORRUPTIONS, SEVERITIES = 19, 5
TOGETHER = 1024
"""Trials that are merged at once; a driver does so with a quarter of them."""


def student(point: int, seed: int) -> Experiment:
    """One trial."""
    shared = {"data": {"name": "cifar10"}, "training": {"epochs": EPOCHS}}
    return Experiment.parse(
        {
            **shared,
            "model": {"name": "wide_resnet", "depth": 16, "width": 2},
            "seed": seed,
            "method": {"name": "kd"},
            "teacher": {**shared, "model": {"name": "wide_resnet", "depth": 40, "width": 2}},
            "noise": {"input": {"name": "gaussian", "sigma": point / 1e4}},
        }
    )


def rows_of_one(*, corruptions: bool) -> dict[TableName, list[Row]]:
    """What a trial leaves in each table; ``corruptions``: also a hundred numbers of robustness
    instead of seven."""
    trial, trial_id = student(0, 0), "0" * 16
    first = {
        "trial_id": trial_id,
        "role": "student",
        "teacher_id": "f" * 16,
        "experiment": canonical_json(trial),
        "seed": 0,
        "status": "completed",
        "val_accuracy": 0.9,
        "test_accuracy": 0.9,
        "parameters": 691674,
        "train_seconds": 900.0,
        "device": "cpu",
        "host": "here",
        "threads": 1,
        **configuration(trial),
    }
    member = {
        "sweep": "large",
        "trial_id": trial_id,
        "role": "student",
        "point": 0,
        "order": 0,
        "evaluation_parameters": "{}",
        "outcome": "completed",
        "teacher_selection": "best_validation",
    }
    epochs = [
        {
            "trial_id": trial_id,
            "stage": "main",
            "epoch": epoch + 1,
            "loss": 1.0,
            "val_accuracy": 0.5,
            "seconds": 45.0,
        }
        for epoch in range(EPOCHS)
    ]
    return {
        "members": [member],
        "trials": [first],
        "epochs": epochs,
        "robustness": [*_numbers(trial_id, corruptions)],
    }


def _numbers(trial_id: str, corruptions: bool) -> Iterator[Row]:
    def number(evaluation: int, label: str, metric: str, **fields: Any) -> Row:
        told = {"name": label, "examples": 10000, "split": "test", **fields}
        common = {
            "trial_id": trial_id,
            "evaluation_id": f"{evaluation:016x}",
            "label": label,
            "evaluation": label,
            "dataset": "cifar10",
            "split": "test",
            "examples": 10000,
            "seconds": 3.0,
        }
        return {
            **common,
            "metric": metric,
            "value": 0.5,
            "correct": 5000,
            "swept": json.dumps(told),
            **fields,
        }

    yield from (number(1, "clean", metric) for metric in ("accuracy", "loss", "ece"))
    ball = {"norm": "linf", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 20, "restarts": 5}
    yield from (number(2, "pgd20", metric, **ball) for metric in ("accuracy", "loss"))
    yield from (number(3, "noise", "accuracy", sigma=sigma) for sigma in (0.1, 0.2))
    if corruptions:
        kinds = itertools.product(range(CORRUPTIONS), range(1, SEVERITIES + 1))
        yield from (
            number(4, "corruptions", "accuracy", corruption=f"kind {c}", severity=severity)
            for c, severity in kinds
        )


def multiplied(store: Store, table: TableName, rows: Sequence[Row], trials: range) -> pa.Table:
    """``rows``, once for each of ``trials``, as kdray's writer would have written them."""
    extra: Mapping[TableName, Mapping[str, type]] = {
        "trials": configuration_columns(),
        "epochs": loss_columns(),
    }
    write_rows(store, table, "one", rows, extra.get(table, {}))
    one = pq.read_table(pa.BufferReader(store.read(f"{table}/one.parquet")))
    store.delete(f"{table}/one.parquet")
    order = np.arange(trials.start, trials.stop)
    changed: dict[str, Any] = {
        "trial_id": [f"{trial:x}".rjust(8, "0") * 2 for trial in trials],
        "seed": order % SEEDS,
        "written_at": order * 10**6,
        "order": order,
        "point": order // SEEDS,
    }
    sigmas = order // SEEDS / 1e4
    if table == "members":
        changed["swept"] = [json.dumps({"noise.input.sigma": sigma}) for sigma in sigmas.tolist()]
    if table == "trials":
        changed["noise.input.sigma"] = sigmas
        changed["val_accuracy"] = np.random.default_rng(trials.start).random(len(order))
    out = one.take(np.tile(np.arange(len(rows)), len(order)))
    for name, values in changed.items():
        if name in one.column_names:
            field, at = one.schema.field(name), one.schema.get_field_index(name)
            out = out.set_column(
                at,
                field,
                pa.array(values).cast(field.type).take(np.repeat(np.arange(len(order)), len(rows))),
            )
    if table == "robustness":
        values = pa.array(np.random.default_rng(trials.start).random(len(out)))
        out = out.set_column(one.schema.get_field_index("value"), one.schema.field("value"), values)
    return out


def write_finished(
    folder: Path, trials: int, *, corruptions: bool, tables: Sequence[TableName] = tuple(TABLES)
) -> None:
    """What a sweep of so many students leaves: merged as its driver does, and as many files of
    single trials as it leaves."""
    store = Store(folder)
    store.create()
    rows = rows_of_one(corruptions=corruptions)
    alone = min(MAX_SMALL_FILES_AT_END, trials)
    for table in tables:
        for start in range(0, trials - alone, TOGETHER):
            several = multiplied(
                store, table, rows[table], range(start, min(start + TOGETHER, trials - alone))
            )
            store.write(f"{table}/several-{start}.parquet", parquet_bytes(several))
            merge_small(store, table, 1)
        last = multiplied(store, table, rows[table], range(trials - alone, trials))
        for number in range(alone - 1):  # and the merged one: as many as may stay
            one = last.slice(number * len(rows[table]), len(rows[table]))
            store.write(
                f"{table}/{one['trial_id'][0]}.parquet",
                parquet_bytes(one.take(np.arange(len(one)))),
            )
