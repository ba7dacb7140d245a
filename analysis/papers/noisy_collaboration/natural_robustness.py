"""The heat maps of natural robustness: figures 5, 6, 10, 11 and 13.

"Natural robustness" is the accuracy under a corruption, mean over its severities, relative to the
accuracy on the same images without: the paper's own numbers are no plain accuracies (98.5 % where
clean accuracy has dropped below that).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kdray.report import (
    PAGE,
    PAPER,
    Figure,
    Snapshot,
    caption,
    cells,
    color_bar,
    heat_map,
    labelled,
    of_one_evaluation,
    of_one_point,
    only,
    panels,
)
from papers.noisy_collaboration.printed import EVALUATE, TITLE, printed_heat_map
from papers.noisy_collaboration.studies import (
    CORRUPTED,
    Study,
    fickle_teacher,
    label_corruption,
    random_swapping,
    signal_dependent,
    soft_randomization,
)

CORRUPTIONS = {
    "noise": ("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"),
    "blur": ("defocus_blur", "gaussian_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("brightness", "fog", "frost", "snow", "spatter"),
    "digital": ("contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"),
}
"""In figure 5's order: by kind, and in each by name."""
NAMES_HEIGHT_INCHES = 0.95
"""Inches that their names take below a heat map."""
ALL_CORRUPTIONS = [name for names in CORRUPTIONS.values() for name in names]


def relative(snapshot: Snapshot, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for every model and corruption: accuracy relative to clean accuracy. The official
    images come before generated ones where as many models were measured on them."""
    generated, official = (
        of_one_evaluation(
            snapshot.measured(trials, evaluation=kind, metric="relative_accuracy"), ["corruption"]
        )
        for kind in ("corruptions", "official_corruptions")
    )
    better = official["trial_id"].nunique() >= generated["trial_id"].nunique()
    return only(official if better else generated, f"no accuracies under corruptions: {EVALUATE}")


def natural(
    snapshot: Snapshot,
    panels_of: Mapping[str, pd.DataFrame],
    *,
    rows: str,
    name: str,
    title: str,
    what: str,
    source: str,
    as_printed: pd.DataFrame | None = None,
) -> Figure:
    """A heat map of the 19 corruptions for each of ``panels_of`` (trials with ``row``, the name of
    their row, by the panel's title), under each other, and one of ``as_printed``, fractions,
    below."""
    together = pd.concat(
        [trials.assign(panel=panel) for panel, trials in panels_of.items()], ignore_index=True
    )
    of_one_point(together, ["panel", "row"], title)
    found = relative(snapshot, together)
    measured = {panel: found[found["panel"].eq(panel)] for panel in panels_of}
    order = {panel: list(trials["row"].drop_duplicates()) for panel, trials in panels_of.items()}
    kinds = ALL_CORRUPTIONS + sorted(set(map(str, found["corruption"])) - set(ALL_CORRUPTIONS))
    maps = {
        panel: cells(its, "row", "corruption", "value").reindex(index=order[panel], columns=kinds)
        for panel, its in measured.items()
    }
    if as_printed is not None:
        maps["as printed, CIFAR-10"] = as_printed.reindex(columns=kinds)
    shown = 100 * np.concatenate([values.to_numpy(float) for values in maps.values()])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    heights = [0.19 * len(values) for values in maps.values()]
    figure, all_axes = panels(
        len(maps),
        columns=1,
        width=PAGE,
        height=heights,
        below=NAMES_HEIGHT_INCHES + 0.32 * len(maps),
    )
    for axes, (panel, values) in zip(all_axes, maps.items(), strict=True):
        image = heat_map(axes, values, low=low, high=high, bar=False)
        labelled(axes, "", rows, panel if len(maps) > 1 else "")
        for edge in (3.5, 8.5, 13.5):
            axes.axvline(edge, color=PAPER, linewidth=2)
        axes.tick_params(labelbottom=axes is all_axes[-1])
    all_axes[-1].set_xticklabels([name.replace("_", " ") for name in kinds], rotation=90)
    color_bar(image, all_axes, "Accuracy relative to clean (%)")
    images = (
        "generated images" if found["evaluation"].eq("corruptions").all() else "the official images"
    )
    text = (
        f"{what} Mean over the severities and the seeds of the accuracy under each "
        f"corruption ({images}), relative to the "
        "accuracy on the same images without"
    )
    return Figure(
        name,
        title,
        caption(text, found, ["group", "row"], source=source and f"{TITLE}, {source}", band=""),
        figure,
    )


def by_x(study: Study, *groups: str, unit: str = "") -> dict[str, pd.DataFrame]:
    """For :func:`natural`: a panel for each group, a row for each x."""
    parts = {}
    for group in groups:
        trials = study.of(group).trials.sort_values("x", kind="stable")
        if len(trials):
            parts[study.names[group]] = trials.assign(row=trials["x"].map("{:g}".format) + unit)
    return parts


def figure_5(snapshot: Snapshot) -> Figure:
    """Natural robustness by the noise on the student's input (figure 5)."""
    parts = by_x(soft_randomization(snapshot), "soft_randomization", "no_teacher")
    what = (
        "Robustness to 19 corruptions by σ of the noise on the student's input, with and "
        "without a teacher, and the numbers "
        "of the paper's figure (its columns named by their order: noise, blur, weather, "
        "digital, each by name)."
    )
    return natural(
        snapshot,
        parts,
        rows="σ",
        name="figure_5",
        title="Natural robustness by input noise",
        what=what,
        source="figure 5",
        as_printed=printed_heat_map(),
    )


def figure_6(snapshot: Snapshot) -> Figure:
    """Natural robustness by the teacher's dropout rate (figure 6)."""
    parts = by_x(fickle_teacher(snapshot), "student")
    return natural(
        snapshot,
        parts,
        rows="Dropout rate",
        name="figure_6",
        title="Natural robustness by the teacher's dropout",
        what="Robustness to 19 corruptions by the rate of the teacher's dropout.",
        source="figure 6",
    )


def figure_10(snapshot: Snapshot) -> Figure:
    """Natural robustness by random swapping (figure 10)."""
    study = random_swapping(snapshot)
    plain = study.reference.assign(group="plain", row="no swapping")
    parts = {}
    for which, words in (("top2", "top 2"), ("all", "all")):
        swapped = study.trials[study.trials["case"].eq(which)]
        threshold = swapped["group"].str.split("|").str[1]
        rows = swapped.assign(
            row="< " + threshold + ", p " + swapped["x"].map("{:g}".format),
            at=threshold.astype(float),
        )
        parts[f"swap {words}"] = pd.concat(
            [plain, rows.sort_values(["at", "x"], kind="stable")], ignore_index=True
        )
    what = (
        "Robustness to 19 corruptions by random swapping: threshold on the difference, and "
        "probability p of swapping."
    )
    return natural(
        snapshot,
        parts,
        rows="",
        name="figure_10",
        title="Natural robustness by random swapping",
        what=what,
        source="figure 10",
    )


def figure_11(snapshot: Snapshot) -> Figure:
    """Natural robustness by signal-dependent noise (figure 11)."""
    parts = by_x(signal_dependent(snapshot), "per_logit", "per_sample")
    what = (
        "Robustness to 19 corruptions by σ of the signal-dependent noise on the teacher's logits."
    )
    return natural(
        snapshot,
        parts,
        rows="σ",
        name="figure_11",
        title="Natural robustness by signal-dependent noise",
        what=what,
        source="figure 11",
    )


def figure_13(snapshot: Snapshot) -> Figure:
    """Natural robustness by label corruption (figure 13)."""
    parts = by_x(label_corruption(snapshot), *CORRUPTED, "fixed", unit=" %")
    what = (
        "Robustness to 19 corruptions by the share of wrong labels. Figure 13 has no "
        "caption in the text: what is drawn is "
        "what the text shows of every other noise and not of this one."
    )
    return natural(
        snapshot,
        parts,
        rows="",
        name="figure_13",
        title="Natural robustness by label corruption",
        what=what,
        source="figure 13 (presumably)",
    )
