"""How long what is left to do will take, by what trials like it have taken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from kdray.core import canonical
from kdray.sweep.definition.file import Role
from kdray.trials.experiment import Experiment
from kdray.trials.task import Task


class Speeds:
    """How long work takes, from the seconds per epoch of the trials that are there, by what they
    cost depends on."""

    def __init__(self, trials: pd.DataFrame) -> None:
        done = trials[trials["status"] == "completed"]
        seen: dict[str, list[float]] = {}
        for text, seconds in zip(done["experiment"], done["train_seconds"], strict=True):
            described = json.loads(text)
            seen.setdefault(_costs(described), []).append(seconds / described["training"]["epochs"])
        self._seconds = {key: sum(values) / len(values) for key, values in seen.items()}
        self._epochs: Counter[tuple[str, float | None]] = Counter()
        """To be trained, by role and seconds of each."""

    def add(self, role: Role, task: Task | None) -> None:
        """Work that is left to do, if it is."""
        if task is not None and task.train and isinstance(task.experiment, Experiment):
            each = self._seconds.get(_costs(canonical(task.experiment))) if self._seconds else None
            self._epochs[role, each] += task.experiment.training.epochs

    def seconds(self, at_once: Mapping[str, int | None]) -> float | None:
        """Of all that was added, so many at once; none if nothing like some of it is there, or none
        can run."""
        total = 0.0
        for (role, each), epochs in self._epochs.items():
            width = at_once.get(role)
            if each is None or not width:
                return None
            total += each * epochs / width
        return total


def _costs(described: dict[str, Any]) -> str:
    teacher = (described.get("teacher") or {}).get("model")
    method, smoothing = (
        described.get("method", {}),
        described.get("supervision", {}).get("smoothing"),
    )
    asked = [
        method.get("name"),
        method.get("attack"),
        smoothing,
    ]  # what a step costs, not how it weighs
    return json.dumps([described["data"], described["model"], teacher, *asked], sort_keys=True)
