"""The figure of the learning curves."""

from __future__ import annotations

from collections.abc import Iterator

from kdray.report.figures.caption import caption
from kdray.report.figures.drawing import learning_curves, legend, panels
from kdray.report.figures.figure import Figure
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share
from kdray.report.page.labels import drawn_points, point_label

MAX_LINES = 6
CURVES = {"val_accuracy": "Validation accuracy (%)", "loss": "Training loss"}


def learning_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield validation accuracy and training loss epoch by epoch, where there is more than one."""
    points, remark = drawn_points(group, MAX_LINES)
    trials = group.completed[["trial_id", "point", "seed", "data.name"]]
    epochs = group.results.epochs().merge(trials[trials["point"].isin(points)], on="trial_id")
    # Of a method with several stages the epochs are counted through, at each point of a trial.
    epochs["epoch"] = epochs.groupby(["trial_id", "point"]).cumcount() + 1
    curves = [name for name in CURVES if epochs[name].notna().any()]
    if not curves or epochs["epoch"].max() < 2:
        return
    names = {point: point_label(group, point) for point in points}
    figure, panel = panels(len(curves), columns=len(curves))
    for axes, name in zip(panel, curves, strict=True):
        learning_curves(
            axes, epochs, name, by="point", order=points, names=names, percent=is_share(name)
        )
        axes.set_ylabel(CURVES[name])
    legend(figure)
    what = (
        "Training, epoch by epoch: accuracy on the validation split, and the loss that is "
        "minimised (its terms differ between methods). Curves that are still rising at their "
        f"right end would gain from more epochs.{remark}"
    )
    # Terms of the loss are measured, not configured.
    terms = [name for name in map(str, epochs) if name.startswith("loss.")]
    text = caption(what, epochs.drop(columns=terms), ["point"], band="Bands")
    yield Figure(f"{prefix}-epochs", "Learning curves", text, figure)
