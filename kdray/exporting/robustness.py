"""The robustness part of a model card: what was measured, how sure each number is, and the reasons
to doubt it."""

from __future__ import annotations

import json

import pandas as pd

from kdray.core.wording import pixels
from kdray.exporting.markdown import code, table
from kdray.results.schema import KEYS, NUMBER_AXES, PARTS

IN_COLUMNS_OF_THEIR_OWN = {"split", "dataset", "examples", "corruption", "severity"}
CONDITIONS = tuple(
    axis
    for axis in NUMBER_AXES
    if axis not in {*IN_COLUMNS_OF_THEIR_OWN, *PARTS, *KEYS["robustness"]}
)
"""Columns that say how hard it was."""


def sections(rows: pd.DataFrame) -> list[str]:
    """Paragraphs and tables about ``rows`` of the robustness table, all of one trial."""
    whole = rows[rows[list(PARTS)].isna().all(axis=1) & rows["error"].isna()]
    if whole.empty:
        parts = ["Nothing was measured: how this model does on perturbed images is not known."]
    else:
        corrupted = whole["corruption"].notna()
        parts = [_numbers(whole[~corrupted]), *_corruptions(whole[corrupted])]
        if whole["correct"].notna().any():
            parts.append(
                "Accuracies are fractions. Low and high are the 95 % Wilson score "
                "interval, which takes the images for a "
                "sample and says nothing of other training seeds; where one image counts "
                "at several severities it is too "
                "narrow. An attack gives an upper bound: a stronger one may find more."
            )
    return [part for part in [*parts, _doubts(rows), _errors(rows)] if part]


def _numbers(rows: pd.DataFrame) -> str:
    head = ("evaluation", "data", "how", "metric", "value", "low", "high", "examples")
    return table(head, [_line(row) for _, row in rows.iterrows()])


def _line(row: pd.Series) -> list[str]:
    share = pd.notna(row["correct"])
    value, low, high = (
        (f"{row[n]:.4f}" for n in ("value", "low", "high"))
        if share
        else (pixels(row["value"]), "–", "–")
    )
    data = f"{row['dataset']}, {row['split']}"
    examples = "–" if pd.isna(row["examples"]) else f"{row['examples']:.0f}"
    return [
        code(row["label"]),
        code(data),
        _how(row),
        code(row["metric"]),
        value,
        low,
        high,
        examples,
    ]


def _how(row: pd.Series) -> str:
    """The conditions of one number, and how the model was smoothed."""
    told = [f"{name}={_short(row[name])}" for name in CONDITIONS if pd.notna(row[name])]
    if pd.notna(row["source_trial_id"]):
        told.append(f"images made on {row['source_trial_id']}")
    smoothing = (
        json.loads(row["evaluation_parameters"]).get("smoothing")
        if pd.notna(row["evaluation_parameters"])
        else None
    )
    if smoothing:
        told.append(
            "smoothed " + " ".join(f"{name}={value}" for name, value in sorted(smoothing.items()))
        )
    return code(", ".join(told)) if told else "–"


def _short(value: object) -> str:
    return pixels(value) if isinstance(value, float) else str(value)


def _corruptions(rows: pd.DataFrame) -> list[str]:
    """Per evaluation a table with a row for each corruption: accuracy by severity and over all, and
    what else there is."""
    parts = []
    for label, mine in rows.groupby("label", sort=False):
        accuracy = mine[mine["metric"] == "accuracy"]
        over_all, others = accuracy[accuracy["severity"].isna()], mine[mine["metric"] != "accuracy"]
        columns = {
            **{
                f"severity {severity:.0f}": _cells(one)
                for severity, one in accuracy.groupby("severity")
            },
            "all": _cells(over_all),
            "low": _cells(over_all, "low"),
            "high": _cells(over_all, "high"),
            **{
                str(metric): _cells(one)
                for metric, one in others[others["severity"].isna()].groupby("metric")
            },
        }
        columns = {name: cells for name, cells in columns.items() if cells}
        names = mine["corruption"].drop_duplicates()
        lines = [
            [code(name), *(cells.get(name, "–") for cells in columns.values())] for name in names
        ]
        parts += [
            f"{code(label)}: accuracy by corruption and severity",
            table(["corruption", *columns], lines),
        ]
    return parts


def _cells(rows: pd.DataFrame, column: str = "value") -> dict[str, str]:
    """By corruption."""
    cells = zip(rows["corruption"], rows[column], strict=True)
    return {str(name): "–" if pd.isna(value) else f"{value:.4f}" for name, value in cells}


def _doubts(rows: pd.DataFrame) -> str:
    """The checks that question a number."""
    doubted = rows[rows["checks"].notna()].drop_duplicates(["label", "checks"])
    if doubted.empty:
        return ""
    lines = [
        f"- {code(label)}: {code(reason)}"
        for label, reason in zip(doubted["label"], doubted["checks"], strict=True)
    ]
    return "\n".join(["**Reasons to doubt these numbers**", "", *lines])


def _errors(rows: pd.DataFrame) -> str:
    """What could not be measured."""
    failed = rows[rows["error"].notna()].drop_duplicates(["label", "error"])
    if failed.empty:
        return ""
    lines = [
        f"- {code(label)}: {code(reason)}"
        for label, reason in zip(failed["label"], failed["error"], strict=True)
    ]
    return "\n".join(["**Could not be measured**", "", *lines])
