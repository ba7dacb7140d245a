"""Points against a baseline: is the difference larger than what other seeds would make?

A seed is a replicate with the same initialisation, data order and noise draws at every point
(common random numbers), so that the differences seed by seed spread less than the numbers
themselves. That holds on one kind of device (:mod:`kdray.core.device_kinds`): seeds on two kinds
are no pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kdray.core import InputError
from kdray.core.device_kinds import draw_alike
from kdray.core.names import composed
from kdray.core.wording import counted
from kdray.results.files.warn import SeveralDevices, warn
from kdray.results.filters import Where, check_columns
from kdray.results.points.data_sets import data_of, different
from kdray.results.points.differences import Difference, of_independent, of_pairs
from kdray.results.points.estimates import holm
from kdray.results.points.machines import warn_of_several_machines
from kdray.results.points.replicates import (
    as_table,
    by_point,
    check_same_evaluations,
    measured_replicates,
)
from kdray.results.tables import Tables

COLUMNS = ["baseline", "n", "n_baseline", "paired", "n_other_device", *Difference._fields]
LAST = ["t_p", "wilcoxon_p", "t_p_holm", "wilcoxon_p_holm", "effect_size"]


class Compared(NamedTuple):
    """A point and its seeds that have the metric."""

    identity: dict[str, Any]
    seeds: pd.DataFrame

    @property
    def name(self) -> str:
        case = "" if pd.isna(self.identity["case"]) else f" ({self.identity['case']})"
        return f"point {self.identity['point']}{case} of {self.identity['sweep']}"

    def shares(self, wanted: Mapping[str, Any]) -> bool:
        """Whether the point has these values; a path that it lacks is None."""
        return all(_or_none(self.identity.get(path)) == value for path, value in wanted.items())


def compare(
    tables: Tables,
    baseline: int | str | Mapping[str, Any],
    metric: str,
    sweep: str | None,
    where: Where,
    *,
    across: bool = False,
) -> pd.DataFrame:
    """See :meth:`Results.compare`."""
    rows = measured_replicates(tables, [metric], None if across else sweep, where)
    if across:
        check_same_evaluations(tables, rows[rows[metric].notna()], [metric], "compare")
    points = [
        Compared(identity, seeds[seeds[metric].notna()]) for identity, seeds in by_point(rows)
    ]
    points = [point for point in points if not point.seeds.empty]
    baseline = _plain(baseline)
    wanted = _wanted(baseline, points)
    fitting = [
        point
        for point in points
        if point.shares(wanted) and sweep in (None, point.identity["sweep"])
    ]
    if not fitting:
        raise InputError(
            f"baseline: no point with {metric} fits {json.dumps(baseline)}{_near(baseline, points)}"
        )
    sweeps = sorted({point.identity["sweep"] for point in fitting})
    if len(sweeps) > 1 and not isinstance(baseline, Mapping):
        raise InputError(
            f"baseline: {json.dumps(baseline)} is in several sweeps; say sweep= (one of "
            f"{', '.join(sweeps)})"
        )
    others = [
        p
        for p in points
        if (across or p.identity["sweep"] in sweeps) and not any(p is each for each in fitting)
    ]
    partners = [_partner(point, fitting, wanted, across=across) for point in others]
    compared = [
        _against(point, partner, metric) for point, partner in zip(others, partners, strict=True)
    ]
    both = [
        pd.concat([point.seeds, partner.seeds])
        for point, partner in zip(others, partners, strict=True)
        if partner is not None
    ]
    warn_of_several_machines(tables, [metric], both, "compared")
    table = as_table([point.identity for point in others], compared, COLUMNS).astype(
        {"baseline": "Int64"}
    )
    if text := not_paired(table):
        warn(f"{metric}: {text}", SeveralDevices)
    for test in ("t_p", "wilcoxon_p"):
        table[f"{test}_holm"] = holm(table[test].tolist(), int((table["n_baseline"] > 0).sum()))
    return table[[*table.columns.drop(LAST), *LAST]]


def _plain(baseline: Any) -> Any:
    """Without numpy's types, which values out of a table have; lists for tuples, as JSON has
    them, and names composed."""
    if isinstance(baseline, Mapping):
        return {str(path): _plain(value) for path, value in baseline.items()}
    if isinstance(baseline, np.generic):
        return baseline.item()
    if isinstance(baseline, str):
        return composed(baseline)
    return [_plain(each) for each in baseline] if isinstance(baseline, list | tuple) else baseline


def _wanted(baseline: int | str | Mapping[str, Any], points: list[Compared]) -> Mapping[str, Any]:
    """What a point must have to be the baseline."""
    if isinstance(baseline, Mapping):
        known = dict.fromkeys(name for point in points for name in point.identity)
        check_columns(baseline, known, "baseline")
        return baseline
    return {"case": baseline} if isinstance(baseline, str) else {"point": baseline}


def _near(baseline: int | str | Mapping[str, Any], points: list[Compared]) -> str:
    """What may be the baseline, as a part of a message."""
    if isinstance(baseline, Mapping):
        values = {
            path: sorted({json.dumps(_or_none(p.identity.get(path))) for p in points})
            for path in baseline
        }
        return (
            " (there are: "
            + "; ".join(f"{path}: {', '.join(known)}" for path, known in values.items())
            + ")"
        )
    name = "case" if isinstance(baseline, str) else "point"
    known = dict.fromkeys(str(p.identity[name]) for p in points if not pd.isna(p.identity[name]))
    return f" ({name}s: {', '.join(known) or 'none'})"


def _partner(
    point: Compared, fitting: list[Compared], wanted: Mapping[str, Any], *, across: bool
) -> Compared | None:
    """The baseline of a point: the only one in its sweep (``across``: in any) that has all its
    other swept values, as far as it has these paths."""
    sweep = point.identity["sweep"]
    near = [each for each in fitting if across or each.identity["sweep"] == sweep]
    if across and len(near) == 1:
        return near[0]
    if "point" in wanted or (len(near) == 1 and "case" in wanted):
        return near[0] if near else None
    # A named case brings values of its own; between others of its paths a baseline must not differ
    # in more than is asked.
    free = {"sweep", "point", *wanted} | ({"case"} if "case" in wanted else set())
    alike = [
        each
        for each in near
        if all(
            _or_none(each.identity[path]) == _or_none(point.identity[path])
            for path in each.identity.keys() & point.identity.keys() - free
        )
    ]
    if len(alike) > 1:
        raise InputError(
            f"baseline: for {point.name} both {alike[0].name} and {alike[1].name} fit; say "
            "more of it"
        )
    return alike[0] if alike else None


def _against(point: Compared, baseline: Compared | None, metric: str) -> dict[str, Any]:
    """A row of the table, but for what the other rows decide."""
    if baseline is None:
        alone = of_independent(point.seeds[metric].to_numpy(float), np.array([]))
        return {
            "baseline": None,
            "n": len(point.seeds),
            "n_baseline": 0,
            "paired": False,
            "n_other_device": 0,
            **alone._asdict(),
        }
    _check_same_data(point, baseline)
    both = point.seeds.dropna(subset="seed").merge(
        baseline.seeds, on="seed", suffixes=("", "_baseline")
    )
    shared = len(both)
    both = both[
        [draw_alike(*each) for each in zip(both["device"], both["device_baseline"], strict=True)]
    ]
    paired = len(both) > 1 and _same_treatment_of_teachers(both)
    ours = (both if paired else point.seeds)[metric].to_numpy(float)
    theirs = (
        both[f"{metric}_baseline"].to_numpy(float)
        if paired
        else baseline.seeds[metric].to_numpy(float)
    )
    difference = of_pairs(ours, theirs) if paired else of_independent(ours, theirs)
    counts = {
        "baseline": baseline.identity["point"],
        "n": len(ours),
        "n_baseline": len(theirs),
        "paired": paired,
        "n_other_device": shared - len(both),
    }
    return counts | difference._asdict()


def not_paired(table: pd.DataFrame) -> str:
    """Say which seeds of a table of :func:`compare` could not be paired, and why; else nothing."""
    apart = table.loc[table["n_other_device"] > 0, "n_other_device"]
    if apart.empty:
        return ""
    seeds, points = counted(int(apart.sum()), "seed"), counted(len(apart), "point")
    return (
        f"{seeds} of {points} not paired with the baseline's: trained on another kind of device, "
        "where equal seeds draw other numbers"
    )


def _check_same_data(point: Compared, baseline: Compared) -> None:
    described = [each.seeds["experiment"].dropna() for each in (point, baseline)]
    if any(texts.empty for texts in described):
        return
    one, other = (data_of(texts.iloc[0]) for texts in described)
    if one != other:
        raise InputError(f"{point.name} and {baseline.name}: {different(one, other)}")


def _same_treatment_of_teachers(both: pd.DataFrame) -> bool:
    """Whether seeds may be paired: the teachers are the same, or differ as the points do and not by
    their seed alone."""
    return all(
        one == other or _described(ours) != _described(theirs)
        for one, other, ours, theirs in zip(
            both["teacher_id"].fillna(""),
            both["teacher_id_baseline"].fillna(""),
            both["experiment"],
            both["experiment_baseline"],
            strict=True,
        )
    )


def _described(experiment: Any) -> Any:
    """The teacher of an experiment without its seed."""
    teacher = None if pd.isna(experiment) else json.loads(experiment).get("teacher")
    return (
        None
        if teacher is None
        else {name: value for name, value in teacher.items() if name != "seed"}
    )


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value
