"""What may stand in one mean or one line of a paper's table or figure: numbers of one evaluation,
of the replicates of one point."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from kdray.core import InputError
from kdray.core.wording import counted, listed, point_text, value_text
from kdray.report.figures.caption import beyond_seeds
from kdray.report.settings import AXES, by_setting, differing, parameters, setting_of, setting_text
from kdray.results.points.data_sets import test_set_names, test_sets
from kdray.results.points.machines import machine_names
from kdray.results.schema import PARTS

PLAIN_NAME, PLAIN_VALUE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)?"), re.compile(r"[a-z0-9-]+")
"""Names and values of fields that a file's name has as they are; joined by _, they stay apart."""
MAX_NAME = 60
"""Letters of the readable part of a file's name."""
DIGEST = 8
"""Letters of the digest that follows it."""
MAX_PATHS = 4
"""How many of the paths in which points differ a reason names."""


class Chosen(UserWarning):
    """Says which of several evaluations a figure or table is of."""


def of_one_evaluation(
    rows: pd.DataFrame, along: Sequence[str] = (), at: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Those of :meth:`Snapshot.measured`'s rows that are :func:`of_one_setting`, and of these each
    number of a trial once: two evaluations of one setting gave the same."""
    chosen = of_one_setting(rows, along, at)
    place = ["trial_id", "metric", "source_trial_id", *AXES, *PARTS]
    first = chosen.groupby(place, dropna=False)["evaluation_id"].transform("first")
    return chosen[chosen["evaluation_id"].eq(first)].reset_index(drop=True)


def of_one_setting(
    rows: pd.DataFrame, along: Sequence[str] = (), at: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Those of ``rows`` that were measured in one setting: of several the one that most trials
    have, of several such the one that says least; a :class:`Chosen` says it.

    ``along``: the axes along which the numbers are shown, in which they may differ. ``at``: what
    parameters must be, none for their default; what was measured otherwise is left out.
    """
    rows = rows[_is_at(rows, at or {})].reset_index(drop=True)
    found = by_setting(rows, along)
    if not found:
        return rows
    settings = [setting_of(its, along) for its in found]
    order = sorted(
        range(len(found)),
        key=lambda number: (-found[number]["trial_id"].nunique(), len(settings[number])),
    )
    chosen = found[order[0]].reset_index(drop=True)
    if len(found) > 1:
        said = setting_text(settings[order[0]], differing(settings))
        kind = str(chosen["evaluation"].iloc[0])
        of = f" of {listed(map(str, rows['sweep'].unique()))}" if "sweep" in rows else ""
        warnings.warn(
            f"Evaluations {kind}{of} had {len(found)} settings, this is of the one that most "
            f"models have: {said}",
            Chosen,
            stacklevel=2,
        )
    return chosen


def _is_at(rows: pd.DataFrame, at: Mapping[str, Any]) -> pd.Series[bool]:
    """Whether the evaluation of each row says of some parameters what it shall."""
    texts = rows["evaluation_parameters"]
    given = {text: parameters(text) for text in texts.dropna().unique()}
    kept = {
        text: all(each.get(name) == value for name, value in at.items())
        for text, each in given.items()
    }
    unsaid = all(value is None for value in at.values())
    return texts.map(lambda text: kept.get(text, unsaid)).astype(bool)


def by_data_set(trials: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield each data set that ``trials`` are tested on, sorted: its name, with what tells it from
    others of that name, a name for files, and its trials with the former as ``data set``."""
    named = trials.assign(**{"data set": test_set_names(trials)})
    for name, part in named.groupby("data set", sort=True):
        known = test_sets(part["experiment"]).dropna()
        fields = json.loads(known.iloc[0]) if len(known) else {"name": part["data.name"].iloc[0]}
        yield str(name), file_name(fields), part


def file_name(data: Mapping[str, Any]) -> str:
    """The name for files of a data set, from all that it says besides defaults, whatever others
    there are: ``mnist_pad_1``, with a digest where that is not all of it."""
    name = str(data["name"])
    stated = {path: value_text(data[path]) for path in sorted(data) if path != "name"}
    whole = "_".join([name, *(f"{path}_{value}" for path, value in stated.items())])
    if (
        len(whole) <= MAX_NAME
        and PLAIN_NAME.fullmatch(name)
        and all(PLAIN_VALUE.fullmatch(value) for value in stated.values())
    ):
        return whole
    # A text (a path) says most; a list or a mapping cannot be read in a name.
    texts = [path for path in stated if isinstance(data[path], str)]
    numbers = [path for path in stated if isinstance(data[path], int | float)]
    readable = " ".join([name, *(f"{path} {stated[path]}" for path in [*texts, *numbers])])
    readable = re.sub(r"[^a-z0-9-]+", "_", readable.lower())[:MAX_NAME].strip("_")
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:DIGEST]
    return f"{readable}_{digest}"


def paths_apart(rows: pd.DataFrame, points: Sequence[str] = ()) -> list[str]:
    """The configuration, or else the column ``point``, in which models differ that share the
    columns ``points``; none where these are replicates of one point."""
    if rows.empty:
        return []
    if paths := beyond_seeds(rows, points):
        return paths
    return ["point"] if _are_of_several(rows, points).any() else []


def told_apart(
    rows: pd.DataFrame, shared: Sequence[str], along: Sequence[str], measured: pd.DataFrame
) -> pd.Series[str]:
    """What tells the points of ``rows`` that share columns apart: the configuration in which they
    differ, and the point's number where that does not tell.

    It is empty if no mean over those of the rows ``measured`` that share ``along`` too is over
    several points.
    """
    paths = beyond_seeds(measured, [*shared, *along]) if len(measured) else []
    values = (dict(zip(paths, row, strict=True)) for row in rows[paths].to_numpy(object))
    texts = pd.Series([point_text(each) if each else "" for each in values], rows.index, "str")
    # Texts rather than values, which may differ and be written alike.
    keys = [*(rows[name] for name in shared), texts]
    together = rows.groupby(keys, dropna=False, observed=True).ngroup()
    several = _are_of_several(measured, [*along, together.reindex(measured.index)])
    mixed = together.isin(together.loc[several.index[several]])
    if not mixed.any():
        return texts
    numbered = texts + ", " + rows["point"].map("point {:.0f}".format)
    return texts.where(~mixed, numbered.str.removeprefix(", "))


def _are_of_several(rows: pd.DataFrame, shared: Sequence[str | pd.Series[Any]]) -> pd.Series[bool]:
    """Whether the rows with which each shares these columns are of several points of its sweep."""
    if "point" not in rows:
        return pd.Series(False, index=rows.index)
    points = rows.groupby(["sweep", *shared], dropna=False, observed=True)["point"]
    return points.transform("nunique") > 1


def a_line_for_each_point(
    rows: pd.DataFrame, by: str, names: Mapping[str, str], along: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """``rows`` with a value of ``by`` for each line to draw, and what each is called: those of
    ``names``, or where rows that share ``along`` are of several points one for each of these."""
    rows = rows.reset_index(drop=True)
    told = told_apart(rows, [by], along, rows)
    told = told.where(told.eq(""), ", " + told)
    pairs = dict.fromkeys(zip(rows[by], told, strict=True))
    apart = {
        f"{key}{text}": f"{name}{text}"
        for known, name in names.items()
        for key, text in pairs
        if key == known
    }
    return rows.assign(**{by: rows[by] + told}), apart


def of_one_point(rows: pd.DataFrame, points: Sequence[str], what: str) -> pd.DataFrame:
    """``rows``, or :class:`InputError` if they hold models of several points that share the columns
    ``points``, of which ``what`` would show a mean."""
    if paths := paths_apart(rows, points):
        raise InputError(
            f"{what} would average several points as if they were seeds: they differ in "
            f"{listed(paths, MAX_PATHS)}"
        )
    return rows


def of_one_machine(trials: pd.DataFrame, column: str) -> tuple[pd.Series[Any], str]:
    """A time, a speed or memory of each of ``trials``, missing but for those taken on the machine
    that most have it from, and what a caption says of that; all of them where nobody knows of a
    second machine."""
    machines = machine_names(trials)
    counts = machines[trials[column].notna()].value_counts()
    if len(counts) < 2:
        return trials[column], ""
    chosen = min(counts.index, key=lambda name: (-counts[name], name))
    others = counted(len(counts) - 1, "other")
    told = f", on the machine that most of them were trained on ({chosen}; not on {others})"
    return trials[column].where(machines.eq(chosen)), told
