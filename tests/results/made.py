"""Results of sweeps, made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from kdray.results import Results, write_rows

_orders = count()


def add_point(
    results: Results,
    number: int,
    values: Sequence[float | None],
    parameters: Mapping[str, Any] | None = None,
    *,
    sweep: str = "s",
    case: str | None = None,
    metric: str = "val_accuracy",
    data: Mapping[str, Any] | None = None,
    teachers: Sequence[Mapping[str, Any]] = (),
    **columns: Any,
) -> list[str]:
    """A point with a seed for each of ``values``; None for one that failed. The trials' ids."""
    extra: dict[str, type] = {
        name: type(value)
        for name, value in (parameters or {}).items()
        if not isinstance(value, list)
    }
    extra |= {name: type(value) for name, value in columns.items() if "." in name}
    made = []
    for seed, value in enumerate(values):
        order = next(_orders)
        trial_id = f"{order:016x}"
        experiment: dict[str, Any] = {"data": data or {"name": "digits"}, "seed": seed}
        row: dict[str, Any] = {"trial_id": trial_id, "role": "student", "seed": seed, **columns}
        if teachers:
            experiment["teacher"] = teachers[seed]
            row["teacher_id"] = json.dumps(teachers[seed])
        row |= {
            "experiment": json.dumps(experiment),
            "status": "failed" if value is None else "completed",
        }
        row |= {name: value for name, value in (parameters or {}).items() if name in extra}
        if "." not in metric:
            row[metric] = value
        write_rows(results.store, "trials", trial_id, [row], extra)
        if "." in metric and value is not None:
            label, name = metric.split(".")
            number_ = {
                "trial_id": trial_id,
                "evaluation_id": label,
                "label": label,
                "metric": name,
                "value": value,
            }
            write_rows(
                results.store,
                "robustness",
                f"{trial_id}-{label}",
                [{**number_, "split": "test"}],
                {},
            )
        member = {
            "sweep": sweep,
            "trial_id": trial_id,
            "role": "student",
            "point": number,
            "point_id": json.dumps(parameters or {}),
            "case": case,
            "order": order,
            "swept": json.dumps(parameters or {}),
            "outcome": "failed" if value is None else "completed",
        }
        write_rows(results.store, "members", f"{sweep}-{number}-{trial_id}", [member], {})
        made.append(trial_id)
    return made
