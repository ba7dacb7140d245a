"""The table of points: what distinguishes them, and every number as its mean ± standard deviation
over the seeds, for the page and for a file."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from kdray.core.wording import NONE, is_missing, mean_and_deviation, of_fewer, value_text
from kdray.report.figures.tables import Spread, Table
from kdray.report.page.group import Group, records
from kdray.report.page.headline_metrics import trade_off
from kdray.results.points.pareto import fronts

MAX_FIRST_METRICS = 5
"""Metrics that are shown at first; the others can be chosen."""


class Column(NamedTuple):
    """A column of the table."""

    title: str
    numeric: bool
    visible: bool
    """At first."""


class Cell(NamedTuple):
    """A cell of the table."""

    text: str
    order: float | None = None
    """What it is sorted by; None: its text."""


class Line(NamedTuple):
    """A row of the table."""

    point: int
    trial_id: str
    """The first trial of the point."""
    mark: str
    """What a point is the best in; nothing for most."""
    cells: tuple[Cell, ...]


def columns(group: Group) -> list[Column]:
    """List the columns after the point and its mark."""
    out = [Column("case", False, True)] if _has_cases(group) else []
    out += [Column(path, _is_numeric(group, path), True) for path in group.swept]
    out.append(Column("seeds", True, True))
    visible = first_metrics(group)
    return [*out, *(Column(name, True, name in visible) for name in group.metrics)]


def first_metrics(group: Group) -> list[str]:
    """List the metrics that say most: the objectives, clean accuracy, and one of each
    evaluation."""
    objectives = [
        name
        for name in [*group.aims.metrics, "val_accuracy", "test_accuracy"]
        if name in group.metrics
    ]
    labels = {name.partition(".")[0]: name for name in reversed(group.metrics) if "." in name}
    others = [name for name in labels.values() if not name.endswith("]")] or list(labels.values())
    return list(dict.fromkeys([*objectives, *reversed(others)]))[:MAX_FIRST_METRICS]


def lines(group: Group) -> list[Line]:
    """List a row for every point with a completed trial."""
    if group.points.empty:
        return []
    marks = _marks(group)
    first = group.completed.drop_duplicates("point").set_index("point")["trial_id"]
    rows = []
    for row in records(group.points):
        cells = [Cell(value_text(row["case"]))] if _has_cases(group) else []
        cells += [
            Cell(value_text(row[path]), _order(row[path]) if _is_numeric(group, path) else None)
            for path in group.swept
        ]
        cells.append(Cell(str(row["n"]), row["n"]))
        cells += [
            Cell(
                mean_and_deviation(row[name], row[f"{name} std"])
                + of_fewer(row[f"{name} n"], row["n"]),
                _order(row[name]),
            )
            for name in group.metrics
        ]
        point = int(row["point"])
        rows.append(Line(point, first[point], marks.get(point, ""), tuple(cells)))
    return rows


def _marks(group: Group) -> dict[int, str]:
    """Return the marks of the best points, and of the front of clean against robust accuracy."""
    several = len(group.aims.objectives) > 1
    first = "Pareto front" if several else "best"
    marks = dict.fromkeys(group.best, first)
    if not several and (pair := trade_off(group)) is not None:
        whole = group.whole(pair)
        for point in whole.loc[fronts(whole[list(pair)].to_numpy(), ["max", "max"]) == 0, "point"]:
            marks[point] = f"{first}, Pareto front" if point in marks else "Pareto front"
    return marks


def _has_cases(group: Group) -> bool:
    return bool(group.points["case"].notna().any()) if not group.points.empty else False


def _is_numeric(group: Group, path: str) -> bool:
    values = (
        group.points[path].dropna() if not group.points.empty else group.students[path].dropna()
    )
    return bool(len(values)) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _order(value: Any) -> float | None:
    return None if is_missing(value) else float(f"{value:.7g}")


def _exact(value: Any) -> Any:
    """Return a swept value in all its digits; whole numbers, of which a column with gaps makes
    floats, as such."""
    if isinstance(value, float) and not is_missing(value):
        return int(value) if value.is_integer() else repr(float(value))
    return value_text(value)


def table(group: Group, *, exact: bool) -> Table:
    """Return the table for a file; swept values ``exact`` (for programs) or as on the page."""
    points, marks = group.points, _marks(group)
    cells: dict[str, list[Any]] = {"point": [int(point) for point in points["point"]]}
    cells["best"] = [marks.get(int(point), "") for point in points["point"]]
    for name in ("case", *group.swept):
        cells[name] = [_exact(value) if exact else value_text(value) for value in points[name]]
    if not _has_cases(group):
        del cells["case"]
    cells["n"] = list(points["n"])
    for name in group.metrics:
        numbers = zip(points[name], points[f"{name} std"], points[f"{name} n"], strict=True)
        cells[name] = [Spread(*each) if not is_missing(each[0]) else None for each in numbers]
    frame = pd.DataFrame(cells)
    caption = (
        f"Points of the sweep {group.title}: mean ± standard deviation over n seeds, fewer where "
        f"a number says so; {NONE}: not measured."
    )
    return Table(f"{group.sweep}-points", group.title, caption, frame, digits=3, seeds="n")
