"""The figures that fit a sweep's data. Each says what it shows and how to read it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pandas as pd

from kdray.core.wording import is_missing, value_text
from kdray.report.figures.caption import caption
from kdray.report.figures.charts import bars, cells, heat_map, scatter
from kdray.report.figures.drawing import labelled, learning_curves, legend, lines, panels
from kdray.report.figures.figure import Figure
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share, robust, trade_off

LINES = 6
"""So many points have a line of their own; of more the best, the worst and some between are
drawn."""
ROWS = 12
"""Of a heat map of points."""
MOST_TICKS = 8
"""So many values of an axis each have a tick."""
CLOSE = 0.09
"""Share of an axis within which the labels of two ticks would touch."""
STRENGTHS = {
    "sigma": "σ of the noise (pixel units)",
    "epsilon": "ε of the attack (pixel units)",
    "snr": "Signal-to-noise ratio",
    "peak": "Photons at white",
    "side": "Side of the occluded square (pixels)",
}
"""Columns of robustness against which an evaluation is a curve."""


def figures(group: Group, prefix: str) -> Iterator[Figure]:
    """In reading order; ``prefix`` keeps the names of several sweeps apart."""
    if group.points.empty:
        return
    yield from _effects(group, prefix)
    yield from _pairs(group, prefix)
    yield from _trade_off(group, prefix)
    yield from _strengths(group, prefix)
    yield from _corruptions(group, prefix)
    yield from _epochs(group, prefix)


def plain(text: str) -> str:
    """``text`` without what matplotlib takes for mathematics."""
    return text.replace("$", r"\$")


def metric_label(metric: str) -> str:
    """Of an axis."""
    return plain(metric) + (" (%)" if is_share(metric) else "")


def _measured(group: Group) -> list[str]:
    """The metrics that figures are about: the objective, and one robust accuracy."""
    wanted = [group.objective.metric, robust(group)]
    return [name for name in dict.fromkeys(wanted) if name is not None and name in group.metrics]


def _axes(group: Group) -> list[str]:
    """What takes several values: the case, and swept paths."""
    return [
        path
        for path in ("case", *group.swept)
        if group.completed[path].dropna().map(value_text).nunique() > 1
    ]


def _is_numeric(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _effects(group: Group, prefix: str) -> Iterator[Figure]:
    """Each metric against each swept path."""
    axes_of, metrics = _axes(group), _measured(group)
    if not metrics:
        return
    for number, path in enumerate(axes_of):
        others = [each for each in axes_of if each != path]
        frame = group.completed.copy()
        frame["line"] = [
            ", ".join(
                f"{_last(each)} {plain(value_text(row[each]))}"
                for each in others
                if not is_missing(row[each])
            )
            for row in frame.to_dict("records")
        ]
        by = "line" if others and frame["line"].nunique() <= LINES else None
        figure, panel = panels(len(metrics), columns=len(metrics))
        for axes, metric in zip(panel, metrics, strict=True):
            if _is_numeric(frame[path]):
                lines(axes, frame, path, metric, by=by, percent=is_share(metric))
                _tick_what_was_tried(axes, frame[path])
            else:
                frame["text"] = frame[path].map(value_text).map(plain)
                bars(
                    axes,
                    frame.dropna(subset=[path]),
                    "text",
                    metric,
                    by=by,
                    percent=is_share(metric),
                )
                _turn_long_ticks(axes)
            labelled(axes, plain(path), metric_label(metric))
        legend(figure)
        mixed = bool(others) and by is None
        averaged = (
            f" Each mark is an average over {', '.join(others)} too, its bar ± one standard "
            "deviation"
            if mixed
            else ""
        )
        shape = "A line that rises to the right" if _is_numeric(frame[path]) else "A higher bar"
        what = (
            f"How {' and '.join(metrics)} change with {path}. {shape} means more of what the "
            f"upright axis counts.{averaged}"
        )
        shared = [path, "line"] if by else [path]
        title = f"{' and '.join(metrics)} against {path}"
        told = caption(what, frame, shared, band="" if mixed else "Error bars")
        yield Figure(f"{prefix}-effect-{number}", title, told, figure)


def _tick_what_was_tried(axes: Any, values: pd.Series[Any]) -> None:
    """A tick at every value, where they are few and not too close for their labels."""
    tried = sorted(float(value) for value in values.dropna().unique())
    if not 2 <= len(tried) <= MOST_TICKS:
        return
    if min(after - before for before, after in pairwise(tried)) >= CLOSE * (tried[-1] - tried[0]):
        axes.set_xticks(tried, [value_text(value) for value in tried])


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _turn_long_ticks(axes: Any) -> None:
    labels = [label.get_text() for label in axes.get_xticklabels()]
    if sum(map(len, labels)) > 28:
        axes.tick_params(axis="x", labelrotation=40)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def _pairs(group: Group, prefix: str) -> Iterator[Figure]:
    """A heat map for two swept paths."""
    axes_of, metrics = _axes(group), _measured(group)
    if (
        len(axes_of) != 2
        or not metrics
        or max(group.completed[path].map(value_text).nunique() for path in axes_of) > 30
    ):
        return
    down, across = axes_of
    frame = group.completed.dropna(subset=axes_of)
    if frame.empty:
        return
    figure, panel = panels(
        len(metrics),
        columns=len(metrics),
        height=min(6.0, 1.1 + 0.24 * frame[down].map(value_text).nunique()),
    )
    for axes, metric in zip(panel, metrics, strict=True):
        table = cells(frame, down, across, metric)
        table.index, table.columns = (
            table.index.map(value_text).map(plain),
            table.columns.map(value_text).map(plain),
        )
        heat_map(axes, table, label=metric_label(metric), percent=is_share(metric), bar=False)
        labelled(axes, plain(across), plain(down), metric_label(metric))
        _turn_long_ticks(axes)
    what = (
        f"{' and '.join(metrics)} at every pair of {down} and {across}, mean over the seeds: "
        "the lighter a cell, the higher"
    )
    yield Figure(
        f"{prefix}-pairs",
        f"{down} and {across} together",
        caption(what, frame, axes_of, band=""),
        figure,
    )


def _trade_off(group: Group, prefix: str) -> Iterator[Figure]:
    """Clean against robust accuracy."""
    pair = trade_off(group)
    if pair is None:
        return
    figure, (axes,) = panels(width=4.6, height=3.2)
    scatter(axes, group.points, *pair)
    labelled(axes, metric_label(pair[0]), metric_label(pair[1]))
    legend(figure)
    what = (
        f"{pair[1]} against {pair[0]}, a mark for each point. Up and to the right is "
        "better; from a mark on the stepped line, "
        "the Pareto front, neither can be improved without losing some of the other"
    )
    told = caption(what, group.completed, ["point"])
    yield Figure(f"{prefix}-trade-off", "What robustness costs in clean accuracy", told, figure)


def _chosen(group: Group, most: int) -> tuple[list[int], str]:
    """At most so many points, the best, the worst and some between; and what to say of it."""
    objective = group.objective
    ranked = group.points
    if objective.metric in ranked:
        ranked = ranked.sort_values(objective.metric, ascending=objective.mode == "min")
    points = [int(point) for point in ranked["point"]]
    if len(points) <= most:
        return sorted(points), ""
    kept = [points[round(step * (len(points) - 1) / (most - 1))] for step in range(most)]
    return (
        kept,
        f" Of {len(points)} points {most} are shown: the best and the worst by "
        f"{objective.metric}, and some between.",
    )


def _name(group: Group, point: int) -> str:
    """A point in a legend."""
    values = {_last(path): value for path, value in group.values(point).items()}
    case = group.case(point)
    parts = [] if is_missing(case) else [str(case)]
    parts += [
        f"{name} {value_text(value)}" for name, value in values.items() if not is_missing(value)
    ]
    return plain(", ".join(parts)[:60] or f"point {point}")


def _strengths(group: Group, prefix: str) -> Iterator[Figure]:
    """Accuracy against the strength of what is done to the images."""
    numbers = group.results.robustness()
    numbers = numbers[
        numbers["metric"].eq("accuracy")
        & numbers["epoch"].isna()
        & numbers["source_trial_id"].isna()
        & numbers["corruption"].isna()
        & numbers["value"].notna()
    ]
    found = numbers.merge(
        group.completed[["trial_id", "point", "seed", "data.name"]], on="trial_id"
    )
    points, shown = _chosen(group, LINES)
    names = {point: _name(group, point) for point in points}
    for column, label in STRENGTHS.items():
        for kind, rows in found.dropna(subset=[column]).groupby("evaluation"):
            rows = rows[rows["split"].eq(rows["split"].mode().iloc[0])]
            if rows.groupby("trial_id")[column].nunique().max() < 3:
                continue
            if kind in (
                "pgd",
                "fgsm",
                "autoattack",
            ):  # one evaluation for each strength: only those that agree in all else
                key = ["norm", "steps", "restarts"]
                rows = rows.fillna({"norm": "", "steps": -1, "restarts": -1})
                rows = rows[rows.groupby(key)[column].transform("nunique") >= 3]
            figure, (axes,) = panels(width=4.6, height=2.8)
            lines(
                axes,
                rows[rows["point"].isin(points)],
                column,
                "value",
                by="point",
                order=points,
                names=names,
            )
            _tick_what_was_tried(axes, rows[column])
            labelled(axes, label, "Accuracy (%)")
            legend(figure)
            harder = "left" if column in ("snr", "peak") else "right"
            what = (
                f"Accuracy under {kind}, which grows to the {harder}. The flatter a line, the "
                f"more robust.{shown}"
            )
            title = f"Accuracy under {kind} by {column}"
            yield Figure(f"{prefix}-{kind}-{column}", title, caption(what, rows, ["point"]), figure)


def _corruptions(group: Group, prefix: str) -> Iterator[Figure]:
    """A heat map of the corruptions."""
    numbers = group.results.robustness()
    numbers = numbers[
        numbers["corruption"].notna() & numbers["metric"].eq("accuracy") & numbers["epoch"].isna()
    ]
    found = numbers.merge(
        group.completed[["trial_id", "point", "seed", "data.name"]], on="trial_id"
    )
    points, shown = _chosen(group, ROWS)
    found = found[found["point"].isin(points)]
    if found.empty:
        return
    found["name"] = found["corruption"].str.replace("_", " ")
    table = cells(found, "point", "name", "value").reindex(
        [point for point in points if point in set(found["point"])]
    )
    table.index = [_name(group, point) for point in table.index]
    figure, (axes,) = panels(width=7.0, height=min(6.0, 1.6 + 0.24 * len(table)))
    heat_map(axes, table, label="Accuracy (%)", digits=0 if len(table.columns) > 10 else 1)
    axes.tick_params(axis="x", labelrotation=45)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
    severities = ", ".join(
        f"{severity:g}" for severity in sorted(found["severity"].dropna().unique())
    )
    what = (
        f"Accuracy on corrupted images, mean over severities {severities} and seeds: a row "
        "for each point, a column for each "
        f"corruption. The lighter a cell, the less the corruption harms.{shown}"
    )
    told = caption(what, found, ["point"], band="")
    yield Figure(f"{prefix}-corruptions", "Accuracy on corrupted images", told, figure)


def _epochs(group: Group, prefix: str) -> Iterator[Figure]:
    """How training went."""
    epochs = group.results.epochs()
    points, shown = _chosen(group, LINES)
    found = epochs.merge(group.completed[["trial_id", "point", "seed", "data.name"]], on="trial_id")
    found = found[found["point"].isin(points)]
    # A method of several stages counts its epochs on.
    found["epoch"] = found.groupby("trial_id").cumcount() + 1
    kept = [name for name in ("val_accuracy", "loss") if found[name].notna().any()]
    if not kept or found["epoch"].max() < 2:
        return
    names = {point: _name(group, point) for point in points}
    figure, panel = panels(len(kept), columns=len(kept))
    for axes, name in zip(panel, kept, strict=True):
        learning_curves(
            axes, found, name, by="point", order=points, names=names, percent=is_share(name)
        )
        axes.set_ylabel("Validation accuracy (%)" if name == "val_accuracy" else "Training loss")
    legend(figure)
    what = (
        "Training, epoch by epoch: accuracy on the validation split, and the loss that is "
        "minimised (its terms differ between "
        "methods). Curves that are still rising at their right end would gain from more "
        f"epochs.{shown}"
    )
    told = caption(what, found, ["point"], band="Bands")
    yield Figure(f"{prefix}-epochs", "Learning curves", told, figure)
