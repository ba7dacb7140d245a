"""A paper's table: our numbers beside those that it prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from kdray.core import InputError
from kdray.core.wording import NONE, is_missing
from kdray.report.figures.caption import caption
from kdray.report.figures.tables import Spread, Table
from kdray.report.papers.comparable import told_apart

Row = dict[str, object]
"""Column to cell."""


class Column(NamedTuple):
    """A column of the table, by the name that the paper gives it."""

    printed: str
    title: str
    """With its unit: ``Accuracy, %``."""
    scale: float | None = 100.0
    """Times which our number is shown, 100 for a fraction as a percentage; none: a whole number,
    the same for all trials."""


class Line(NamedTuple):
    """A row of the table, by the name that the paper gives it, or with a name of its own if only we
    have it."""

    row: str
    trials: pd.DataFrame
    """Of ours, a row each, with its numbers in columns called as the paper's are; those that are
    not there are missing."""
    role: str = "student"
    point: str = ""
    """What tells these trials from others of the same row, of which they are no replicates."""
    is_last: bool = True
    """Of those of the same row."""

    @property
    def name(self) -> str:
        return f"{self.row}, {self.point}" if self.point else self.row


def number_of_each(
    trials: pd.DataFrame, measured: pd.DataFrame, column: str = "value"
) -> pd.Series[float]:
    """The number of each of ``trials`` in ``measured``, which holds one at most
    (:func:`kdray.report.of_one_evaluation`); NaN for a trial that was not measured."""
    numbers = measured.drop_duplicates(["trial_id", column]).set_index("trial_id")[column]
    assert numbers.index.is_unique, "numbers of several evaluations under one name"
    return trials["trial_id"].map(numbers)


def printed(rows: pd.DataFrame, item: str, row: str, column: str) -> float:
    """What a cell of a paper's table says, fractions as percentages; NaN if it prints nothing
    there.

    ``rows`` are those of :func:`kdray.report.papers.published`.
    """
    cell = rows[rows["item"].eq(item) & rows["row"].eq(row) & rows["column"].eq(column)]
    if cell.empty:
        return math.nan
    value, unit = float(cell["value"].iloc[0]), cell["unit"].iloc[0]
    return round(100 * value, 10) if unit == "fraction" else value


def trials_text(trials: pd.DataFrame, role: str) -> str:
    """Which trials a number is of: role, sweep and case."""
    if trials.empty:
        return NONE
    cases = [str(case) for case in trials["case"].dropna().unique()]
    return ", ".join([role, *map(str, trials["sweep"].unique()), *cases])


def published_table(
    item: str,
    published: pd.DataFrame,
    columns: Sequence[Column],
    lines: Sequence[Line],
    *,
    title: str,
    what: str,
    source: str,
    head: str = "Method",
    under: bool = False,
    over: str = "",
) -> Table:
    """The paper's ``item`` (``Table 1``): for each of ``columns`` our mean ± standard deviation and
    the number printed.

    Printed numbers have columns of their own, or (``under``, for many columns) a row under ours.
    Trials of a line that are no replicates of one point have a row for each point.
    ``what`` is the sentence that the caption begins with; ``source`` says of which paper and of
    which data printed numbers are; ``over``: what the means are over, if not over seeds.
    """
    lines = [part for line in lines for part in _point_by_point(columns, line)]
    rows = [
        row
        for line in lines
        for row in (_two_rows if under else _one_row)(item, published, columns, line, head)
    ]
    # Copied, because pandas warns where a column is added to a table in pieces.
    cells = [
        _measured(column, line).copy().assign(line=line.name, column=column.title)
        for line in lines
        for column in columns
        if column.scale is not None
    ]
    measured = [cell for cell in cells if not cell.empty]
    trained = [
        line.trials.copy().assign(line=line.name, column="")
        for line in lines
        if not line.trials.empty
    ]
    if not (measured or trained):
        raise InputError(f"nothing of what {item} compares was measured")
    shown = pd.concat(measured or trained, ignore_index=True)
    captioned = caption(
        what, shown, ["line", "column"], source=f"t{item[1:]} of {source}", band="Means", over=over
    )
    return Table(
        item.lower().replace(" ", "_"),
        f"{item}: {title}",
        " ".join([captioned, *remarks(published, item)]),
        pd.DataFrame(rows, dtype=object),
        seeds="n",
    )


def remarks(published: pd.DataFrame, item: str) -> list[str]:
    """The notes on the printed numbers of ``item``, a sentence each with the cells that it is
    about."""
    noted = published[published["item"].eq(item)].assign(note=lambda rows: rows["note"].fillna(""))
    noted = noted[noted["note"].ne("")]
    sentences = []
    for note, cells in noted.groupby("note", sort=False):
        rows, columns = (", ".join(cells[name].unique()) for name in ("row", "column"))
        sentences.append(f"Printed for {rows} in {columns}: {note}.")
    return sentences


def _point_by_point(columns: Sequence[Column], line: Line) -> list[Line]:
    """``line``, or a line for each point if one of its means would be over several."""
    line = line._replace(trials=line.trials.reset_index(drop=True))
    # Copied, because pandas warns where a column is added to a table in pieces.
    cells = [
        _measured(column, line).copy().assign(column=column.title)
        for column in columns
        if column.scale is not None
    ]
    several = any(cell["case"].nunique(dropna=False) > 1 for cell in cells)
    shared = ["case"] if several else []
    told = told_apart(line.trials, shared, ["column"], pd.concat(cells))
    keys = [*(line.trials[name] for name in shared), told]
    found = [
        line._replace(
            trials=part,
            point=", ".join(str(text) for text in texts if not is_missing(text) and text),
            is_last=False,
        )
        for texts, part in line.trials.groupby(keys, dropna=False, sort=False)
    ]
    return [*found[:-1], found[-1]._replace(is_last=True)] if found else [line]


def _measured(column: Column, line: Line) -> pd.DataFrame:
    """The trials of a line that have a number in a column."""
    return line.trials.loc[_numbers(column, line).index]


def _one_row(
    item: str, published: pd.DataFrame, columns: Sequence[Column], line: Line, head: str
) -> list[Row]:
    cells: Row = {head: line.name}
    for column in columns:
        cells[column.title] = _ours(column, line)
        cells[f"{column.title} (published)"] = _theirs(item, published, column, line)
    return [{**cells, **_basis(columns, line)}]


def _two_rows(
    item: str, published: pd.DataFrame, columns: Sequence[Column], line: Line, head: str
) -> list[Row]:
    ours: Row = {column.title: _ours(column, line) for column in columns}
    theirs: Row = {column.title: _theirs(item, published, column, line) for column in columns}
    shown: list[Row] = []
    if not line.trials.empty:
        shown.append({head: line.name, **ours, **_basis(columns, line)})
    if line.is_last and line.row in set(published.loc[published["item"].eq(item), "row"]):
        shown.append({head: f"{line.row} (published)", **theirs, "n": None, "Trials": NONE})
    return shown


def _ours(column: Column, line: Line) -> Spread | int | None:
    numbers = _numbers(column, line)
    if numbers.empty:
        return None
    if column.scale is None:
        return int(numbers.iloc[0]) if numbers.nunique() == 1 else None
    return Spread.of(numbers, column.scale)


def _theirs(item: str, published: pd.DataFrame, column: Column, line: Line) -> Spread | float:
    value = printed(published, item, line.row, column.printed)
    deviation = printed(published, item, line.row, f"{column.printed}, std")
    if column.scale is None and not math.isnan(value):
        return int(value)
    return value if math.isnan(deviation) else Spread(value, deviation, 0)


def _basis(columns: Sequence[Column], line: Line) -> Row:
    """How many numbers a mean is of, where it says nothing else, and of which trials."""
    counts = [len(_numbers(column, line)) for column in columns if column.scale is not None]
    n = max(counts, default=0) or None
    return {"n": n, "Trials": trials_text(line.trials, line.role)}


def _numbers(column: Column, line: Line) -> pd.Series[float]:
    return (
        line.trials[column.printed].dropna()
        if column.printed in line.trials
        else pd.Series(dtype=float)
    )
