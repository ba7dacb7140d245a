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
                "dataset": {"type": data, "name": data, "split": split},
                "metrics": metrics,
            }
            for split, metrics in _metrics(trial, robustness)
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


def _metrics(trial: Trial, robustness: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the numbers of each split: its accuracy, and what the evaluations measured."""
    whole = robustness[robustness[list(PARTS)].isna().all(axis=1) & robustness["error"].isna()]
    whole = whole[[metric_named(str(metric)).headline for metric in whole["metric"]]]
    for split in ("test", "val"):
        found = [("Accuracy", "accuracy", trial.row[f"{split}_accuracy"])]
        for _, row in whole[whole["split"] == split].iterrows():
            found.append((_name(row), str(row["metric"]), row["value"]))
        metrics = [
            {"name": name, "type": metric, "value": round(float(value), 6)}
            for name, metric, value in found
            if pd.notna(value)
        ]
        if metrics:
            yield split, metrics


def _name(row: pd.Series) -> str:
    """Return what tells a number from the others of its evaluation."""
    corruption = "" if pd.isna(row["corruption"]) else f" {row['corruption']}"
    severity = "" if pd.isna(row["severity"]) else f" {row['severity']:.0f}"
    return f"{row['label']}{corruption}{severity} {row['metric']}"
