"""The figure of robust overfitting (Rice et al. 2020, arXiv:2002.11569): accuracy under attack
after the last epoch, and in the best."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from kdray.report.figures.caption import caption
from kdray.report.figures.charts import bars
from kdray.report.figures.drawing import labelled, legend, panels
from kdray.report.figures.figure import Figure
from kdray.report.page.group import Group
from kdray.report.page.labels import drawn_points, plain, point_label, turn_long_ticks
from kdray.results.metrics import WHITE_BOX

MAX_BARS = 8
"""Points."""
MAX_ATTACKS = 3
BEST, LAST = "best epoch", "last epoch"


def overfitting_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield the validation accuracy under each attack that training.monitor made, after the last
    epoch that it looked at and in the best, where it looked at several."""
    points, remark = drawn_points(group, MAX_BARS)
    numbers = _last_and_best(group)
    numbers = numbers[numbers["point"].isin(points)]
    attacks = list(numbers["evaluation_id"].unique())[:MAX_ATTACKS]
    if not attacks:
        return
    names = {point: point_label(group, point) for point in points}
    figure, panel = panels(len(attacks), columns=len(attacks), below=0.3)
    for axes, attack in zip(panel, attacks, strict=True):
        its = numbers[numbers["evaluation_id"].eq(attack)]
        along = [point for point in points if its["point"].eq(point).any()]
        bars(axes, its, "point", "value", by="when", order=[BEST, LAST], along=along, names=names)
        labelled(axes, "", "Validation accuracy (%)", plain(str(its["label"].iloc[0])))
        turn_long_ticks(axes)
    legend(figure)
    what = (
        "Robust overfitting: accuracy on the validation split under the attack that "
        "training.monitor made, in the best of the epochs that it looked at and in the last one. "
        "The best is chosen by the same numbers, and so a little too high; where the last is far "
        f"below it, fewer epochs or training.keep would have helped.{remark}"
    )
    text = caption(what, numbers, ["point", "evaluation_id", "when"])
    yield Figure(f"{prefix}-overfitting", "Robust overfitting", text, figure)


def _last_and_best(group: Group) -> pd.DataFrame:
    """Return a row for each trial, point, attack and ``when``; none where there was one epoch."""
    rows = group.robustness
    rows = rows[
        rows["epoch"].notna()
        & rows["class"].isna()
        & rows["metric"].eq("accuracy")
        & rows["evaluation"].isin(WHITE_BOX)
        & rows["value"].notna()
    ].merge(group.completed[["trial_id", "point", "seed", "data.name"]], on="trial_id")
    keys = ["trial_id", "point", "evaluation_id"]  # a trial may be of several points
    single = ~rows.duplicated([*keys, "epoch"], keep=False)
    rows = rows[single].sort_values("epoch", kind="stable")
    looks = rows.groupby(keys)["value"]
    several = rows[looks.transform("size") > 1]
    last = several.drop_duplicates(keys, keep="last").assign(when=LAST)
    best = last.assign(value=last[keys].merge(looks.max().reset_index(), on=keys)["value"].array)
    return pd.concat([best.assign(when=BEST), last], ignore_index=True)
