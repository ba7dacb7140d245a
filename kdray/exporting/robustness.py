"""The robustness part of a model card: what was measured, how sure each number is, and the reasons
to doubt it."""

from __future__ import annotations

import json

import pandas as pd

from kdray.core.wording import pixels
from kdray.exporting.markdown import code, table
from kdray.results.metrics import metric_named
from kdray.results.points.wilson import CONFIDENCE_TEXT
from kdray.results.schema import KEYS, NUMBER_AXES, PARTS

IN_COLUMNS_OF_THEIR_OWN = {"split", "dataset", "examples", "corruption", "severity"}
CONDITIONS = tuple(
    axis
    for axis in NUMBER_AXES
    if axis not in {*IN_COLUMNS_OF_THEIR_OWN, *PARTS, *KEYS["robustness"]}
)
"""Columns that say how hard it was."""
HAVE_COLUMNS = {
    *("name", "label", "split", "examples"),
    *("sigmas", "ratios", "peaks", "sides", "radii"),
    *CONDITIONS,
}
"""Parameters of an evaluation that columns hold, value by value."""
OF_CORRUPTIONS = {"kinds", "severities"}
"""The same of a number for one corruption; a mean is over them."""


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
                f"Accuracies are fractions. Low and high are the {CONFIDENCE_TEXT} Wilson score "
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
        else (_plain(row["metric"], row["value"]), "–", "–")
    )
    how = _how(row)
    return [
        _name(row),
        code(_data(row)),
        code(how) if how else "–",
        code(row["metric"]),
        value,
        low,
        high,
        _examples(row) or "–",
    ]


def _name(row: pd.Series) -> str:
    """What the evaluation is called; one without a label by its kind."""
    return code(row["label"] if pd.notna(row["label"]) else row["evaluation"])


def _data(row: pd.Series) -> str:
    return f"{row['dataset']}, {row['split']}"


def _examples(row: pd.Series) -> str:
    return "" if pd.isna(row["examples"]) else f"{row['examples']:.0f}"


def _plain(metric: str, value: float) -> str:
    """A number that is no share of the images."""
    return pixels(value) if metric_named(metric).unit == "pixel units" else f"{value:g}"


def _how(row: pd.Series) -> str:
    """The conditions of one number, and how the model was smoothed."""
    told = [f"{name}={_short(row[name])}" for name in CONDITIONS if pd.notna(row[name])]
    if pd.notna(row["source_trial_id"]):
        told.append(f"images made on {row['source_trial_id']}")
    text = row["evaluation_parameters"]
    given = json.loads(text) if pd.notna(text) else {}
    if smoothing := given.pop("smoothing", None):
        told.append("smoothed " + _fields(smoothing, " "))
    held = HAVE_COLUMNS | (OF_CORRUPTIONS if pd.notna(row["corruption"]) else set())
    told += [
        f"{name}={_short(value)}"
        for name, value in sorted(given.items())
        if name not in held and not name.endswith(".version")
    ]
    return ", ".join(told)


def _fields(given: dict[str, object], between: str) -> str:
    return between.join(f"{name}={_short(value)}" for name, value in sorted(given.items()))


def _short(value: object) -> str:
    if isinstance(value, dict):
        return f"({_fields(value, ', ')})"
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    return pixels(value) if isinstance(value, float) else str(value)


def _corruptions(rows: pd.DataFrame) -> list[str]:
    """Per evaluation a table with a row for each corruption: accuracy by severity and over all, and
    what else there is."""
    parts = []
    for _, mine in rows.groupby("evaluation_id", sort=False):
        parts += [_measured_on(mine), _by_corruption(mine)]
    return parts


def _measured_on(rows: pd.DataFrame) -> str:
    """The heading of a table: the evaluation, of which images, how."""
    first = rows.iloc[0]
    counts = [_examples(first)] if first["metric"] == "accuracy" else []
    where = ", ".join([code(_data(first)), *(f"{count} images" for count in counts if count)])
    how = _how(first)
    return (
        f"{_name(first)} ({where}{f', {code(how)}' if how else ''}): accuracy by corruption and "
        "severity"
    )


def _by_corruption(rows: pd.DataFrame) -> str:
    accuracy = rows[rows["metric"] == "accuracy"]
    over_all, others = accuracy[accuracy["severity"].isna()], rows[rows["metric"] != "accuracy"]
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
    lines = [
        [code(name), *(cells.get(name, "–") for cells in columns.values())]
        for name in rows["corruption"].drop_duplicates()
    ]
    return table(["corruption", *columns], lines)


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
