"""A sweep of a few trials with numbers of one's choice, as the page's modules see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kdray.report.page.group import Group, groups
from kdray.results import Results, Row, Store, write_rows
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import objectives_file

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGMA = "noise.input.sigma"
ALPHA = "method.alpha"


class Small:
    """Rows that are collected, then written and read back."""

    def __init__(self, path: Path, sweep: str = "s", data: str = "digits") -> None:
        self.path, self.sweep, self.data = path, sweep, data
        self.members: list[Row] = []
        self.trials: list[Row] = []
        self.epochs: list[Row] = []
        self.numbers: list[Row] = []
        self.objectives: Objectives | None = None

    def trial(
        self,
        point: int | None,
        seed: int,
        accuracy: float | None,
        swept: Mapping[str, Any] | None = None,
        *,
        status: str | None = "completed",
        outcome: str | None = None,
        case: str | None = None,
        error: str | None = None,
        member_error: str | None = None,
        teachers: tuple[str, Sequence[float | None]] | None = None,
        **columns: Any,
    ) -> str:
        """Add a student of ``point``, a teacher without one; ``status`` None: it has no row of its
        own. Returns its id. Columns have ``__`` for a dot. ``teachers``: how one was chosen, and the
        accuracies of the candidates; None for one that did not complete."""
        role = "teacher" if point is None else "student"
        trial_id = f"{self.sweep}-{role}-{point}-{seed}"
        self.members.append(
            {
                "sweep": self.sweep,
                "trial_id": trial_id,
                "role": role,
                "point": point,
                "point_id": None if point is None else f"p{point}",
                "case": case,
                "order": len(self.members),
                "swept": json.dumps(dict(swept or {})),
                "outcome": outcome or ("completed" if status == "completed" else "failed"),
                "error": member_error,
                **_choice(teachers),
            }
        )
        if status is None:
            return trial_id
        configured = {name.replace("__", "."): value for name, value in columns.items()}
        own = {path: value for path, value in (swept or {}).items() if not isinstance(value, list)}
        self.trials.append(
            {
                "trial_id": trial_id,
                "role": role,
                "seed": seed,
                "status": status,
                "error": error,
                "experiment": json.dumps({"data": {"name": self.data}, "seed": seed}),
                "val_accuracy": accuracy,
                "test_accuracy": None if accuracy is None else accuracy - 0.1,
                "started_at": START,
                "finished_at": START + timedelta(minutes=3),
                "data.name": self.data,
                "model.name": "mlp",
                "method.name": "kd",
                "training.epochs": 3,
                **own,
                **configured,
            }
        )
        return trial_id

    def unbuilt(self, point: int, error: str, swept: Mapping[str, Any] | None = None) -> None:
        """Add a point that cannot be built, so that it has no trial."""
        self.trial(point, 0, None, swept, status=None, outcome="failed", member_error=error)
        self.members[-1]["trial_id"] = None

    def again(self, trial_id: str, point: int, case: str | None = None) -> None:
        """Add a trial as one of another point too, as where two cases have equal experiments."""
        row = next(each for each in self.members if each["trial_id"] == trial_id)
        its = {"point": point, "point_id": f"p{point}", "case": case, "order": len(self.members)}
        self.members.append({**row, **its})

    def point(
        self,
        point: int,
        accuracies: Sequence[float | None],
        swept: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> list[str]:
        """Add a student for each accuracy; None: it failed. Returns their ids."""
        return [
            self.trial(
                point,
                seed,
                accuracy,
                swept,
                **{"status": "failed" if accuracy is None else "completed", **how},
            )
            for seed, accuracy in enumerate(accuracies)
        ]

    def number(
        self,
        trial_id: str,
        label: str,
        evaluation: str,
        value: float | None,
        *,
        metric: str = "accuracy",
        given: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Add a number of an evaluation whose parameters are ``given``."""
        row = {
            "trial_id": trial_id,
            "evaluation_id": label,
            "label": label,
            "evaluation": evaluation,
            "metric": metric,
            "value": value,
            "split": "test",
            "dataset": self.data,
            "evaluation_parameters": json.dumps({"name": evaluation, **(given or {})}),
        }
        self.numbers.append({**row, **fields})

    def numbers_of(
        self, trials: Sequence[str], label: str, evaluation: str, value: float, **how: Any
    ) -> None:
        """Add the same number for each of ``trials``."""
        for trial_id in trials:
            self.number(trial_id, label, evaluation, value, **how)

    def learning(self, trial_id: str, *accuracies: float, stage: str = "main") -> None:
        """Add an epoch for each validation accuracy, whose loss is 1 less that."""
        for epoch, accuracy in enumerate(accuracies, start=1):
            row = {"trial_id": trial_id, "stage": stage, "epoch": epoch}
            self.epochs.append({**row, "val_accuracy": accuracy, "loss": 1 - accuracy})

    def aim(self, *objectives: Objective, seeds: int | None = None, **fields: Any) -> None:
        """Say by what the sweep's points are compared."""
        self.objectives = Objectives(objectives=objectives or (Objective(),), seeds=seeds, **fields)

    def written(self) -> Results:
        """The results, written."""
        store = Store(self.path)
        store.create()
        tables = {
            "members": self.members,
            "trials": self.trials,
            "epochs": self.epochs,
            "robustness": self.numbers,
        }
        extra = {
            table: {
                name: type(value)
                for row in tables[table]
                for name, value in row.items()
                if "." in name and value is not None
            }
            for table in ("trials", "epochs")
        }
        for table, rows in tables.items():
            if rows:
                write_rows(store, table, self.sweep, rows, extra.get(table, {}))
        if self.objectives is not None:
            store.write(objectives_file(self.sweep), self.objectives.model_dump_json().encode())
        return Results(self.path)

    def group(self) -> Group:
        """The one group of the sweep."""
        (found,) = groups(self.written().snapshot(), self.sweep)
        return found


def _choice(teachers: tuple[str, Sequence[float | None]] | None) -> Row:
    """The columns of members that say how a student's teacher was chosen."""
    if teachers is None:
        return {}
    select, accuracies = teachers
    by = "test_accuracy" if select == "best_test" else "val_accuracy"
    listed = [{"trial_id": f"t{i}", "seed": i, by: each} for i, each in enumerate(accuracies)]
    return {"teacher_selection": select, "teacher_candidates": json.dumps(listed)}


def two_by_two(path: Path) -> Small:
    """Four points of two seeds, 0.01 to both sides of 0.6, 0.7, 0.8 and 0.9: sigma 0 and 0.1, alpha
    0.5 and 1. Under attack it is the other way round."""
    made = Small(path)
    for point, (sigma, alpha) in enumerate([(0.0, 0.5), (0.0, 1.0), (0.1, 0.5), (0.1, 1.0)]):
        mean = 0.6 + 0.1 * point
        ids = made.point(point, [mean - 0.01, mean + 0.01], {SIGMA: sigma, ALPHA: alpha})
        attacked(made, ids, 0.5 - 0.1 * point)
    return made


def attacked(made: Small, trials: Sequence[str], value: float) -> None:
    """Add the accuracy of ``trials`` under the attack of :func:`two_by_two`."""
    made.numbers_of(trials, "pgd20", "pgd", value, norm="linf", epsilon=0.1)
