"""The metadata of a model card as the Hugging Face Hub reads it: YAML before the Markdown.

https://huggingface.co/docs/hub/model-cards: ``model-index`` holds the numbers that the Hub shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import yaml

from kdray.exporting.loading import Trial
from kdray.results.metrics import metric_named
from kdray.results.naming import named_numbers
from kdray.results.schema import PARTS

TASK = {"type": "image-classification", "name": "Image classification"}


def front_matter(trial: Trial, robustness: pd.DataFrame) -> str:
    """Return the block between ``---`` lines that a card for the Hub begins with."""
    experiment = trial.experiment
    data = experiment.data.name
    index = {
        "name": f"{experiment.model.name}-{data}-{trial.trial_id}",
        "results": [
            {
                "task": dict(TASK),
                "dataset": {"type": measured_on, "name": measured_on, "split": split},
                "metrics": metrics,
            }
            for measured_on, split, metrics in _metrics(trial, robustness)
        ],
    }
    described = {
        "library_name": "kdray",
        "pipeline_tag": "image-classification",
        "tags": _tags(experiment),
        "datasets": [data],
        "metrics": ["accuracy"],
        "model-index": [index],
    }
    text = yaml.safe_dump(described, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n"


def _tags(experiment: Any) -> list[str]:
    tags = ["kdray", "image-classification", experiment.model.name]
    if experiment.teacher is not None:
        tags.append("knowledge-distillation")
    return tags


def _metrics(
    trial: Trial, robustness: pd.DataFrame
) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """Yield a data set, a split of it, and the numbers that are of it: accuracies, and what the
    evaluations measured, each under the name that frames have."""
    own = trial.experiment.data.name
    whole = robustness[robustness[list(PARTS)].isna().all(axis=1)]
    numbers = named_numbers(whole)
    numbers = numbers[[metric_named(str(metric)).headline for metric in numbers["metric"]]]
    found: dict[tuple[str, str], list[tuple[str, str, float]]] = {
        (own, split): [("Accuracy", "accuracy", trial.row[f"{split}_accuracy"])]
        for split in ("test", "val")
    }
    for _, row in numbers.iterrows():
        measured_on = own if pd.isna(row["dataset"]) else str(row["dataset"])
        number = (str(row["column"]), str(row["metric"]), row["value"])
        found.setdefault((measured_on, str(row["split"])), []).append(number)
    for (data, split), each in found.items():
        metrics = [
            {"name": name, "type": metric, "value": round(float(value), 6)}
            for name, metric, value in each
            if pd.notna(value)
        ]
        if metrics:
            yield data, split, metrics
