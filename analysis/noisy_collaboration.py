"""The figures of Noisy Collaboration in Knowledge Distillation from the results of its sweeps.

    python analysis/noisy_collaboration.py RESULTS --out DIR

after ``kdray run sweeps/noisy_collaboration/….yaml --results RESULTS`` and, for the
out-of-distribution images and several step sizes of PGD, ``kdray evaluate RESULTS --suite
sweeps/suites/noisy_collaboration.yaml``.

"Natural robustness" of the heat maps is the accuracy under a corruption, mean over its severities,
relative to the accuracy on the same images without: the paper's own numbers are no plain accuracies
(98.5 % where clean accuracy has dropped below that).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from kdray.core import InputError
from kdray.report.figures.caption import caption
from kdray.report.figures.charts import cells, color_bar, heat_map
from kdray.report.figures.drawing import (
    absent,
    from_zero,
    labelled,
    legend,
    lines,
    marks,
    panels,
    reference,
)
from kdray.report.figures.figure import Figure
from kdray.report.figures.style import PAGE, PAPER
from kdray.report.figures.tables import Spread, Table
from kdray.report.papers.attacks import attack_text, under_pgd
from kdray.report.papers.published import published
from kdray.report.papers.published_table import printed
from kdray.report.papers.script import run
from kdray.report.papers.snapshot import Snapshot, of_one_evaluation, only

TITLE = "Noisy Collaboration"
PRINTED = published("noisy_collaboration")
ATTACKS = {"section 4.3": "PGD accuracy", "section 4.4": "PGD-20 accuracy"}
"""What the text calls the accuracy under attack, by section."""
EVALUATE = "kdray evaluate RESULTS --suite sweeps/suites/noisy_collaboration.yaml"

CORRUPTIONS = {
    "noise": ("gaussian_noise", "impulse_noise", "shot_noise", "speckle_noise"),
    "blur": ("defocus_blur", "gaussian_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("brightness", "fog", "frost", "snow", "spatter"),
    "digital": ("contrast", "elastic_transform", "jpeg_compression", "pixelate", "saturate"),
}
"""In figure 5's order: by kind, and in each by name."""
NAMES = 0.95
"""Inches that their names take below a heat map."""
ALL = [name for names in CORRUPTIONS.values() for name in names]

SIGMA_INPUT = "σ of the input noise\n(images in [0, 1])"
SIGMA_LOGITS = "σ of the noise on the logits"
RATE = "Corrupted labels (%)"


@dataclass(frozen=True)
class Study:
    """What one sweep varies, ready to draw: a row per model with ``x`` and ``group`` besides the
    trial's columns."""

    trials: pd.DataFrame
    xlabel: str
    names: Mapping[str, str]
    """Of the groups, in the order in which they are drawn."""
    reference: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Models without what is varied, drawn as a level."""
    level: str = ""

    def of(self, *groups: str) -> Study:
        """With these groups only."""
        kept = self.trials[self.trials["group"].isin(groups)].reset_index(drop=True)
        return Study(
            kept, self.xlabel, {g: self.names[g] for g in groups}, self.reference, self.level
        )


def students(snapshot: Snapshot, sweep: str) -> pd.DataFrame:
    """Of one of the paper's sweeps; what is missing comes with the command that trains it."""
    if sweep not in snapshot.sweeps:
        file = f"sweeps/noisy_collaboration/{sweep.replace('-', '_')}.yaml"
        raise InputError(
            f"the results have no students of the sweep {sweep}: kdray run {file} --results RESULTS"
        )
    return snapshot.students(sweep)


def of_noise(trials: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A field of the first noise on the teacher's logits, of each trial; NaN without such noise."""
    described = trials["supervision.noise"].map(json.loads)
    return described.map(lambda noise: noise[0].get(name) if noise else None)


def signal_dependent(snapshot: Snapshot) -> Study:
    found = students(snapshot, "signal-dependent")
    sigma = of_noise(found, "sigma").fillna(0.0).astype(float)  # noise of σ 0 is none
    names = {"per_logit": "one δ per logit", "per_sample": "one δ per sample"}
    return Study(found.assign(x=sigma, group=found["case"]), SIGMA_LOGITS, names)


def fickle_teacher(snapshot: Snapshot) -> Study:
    found = students(snapshot, "fickle-teacher")
    teachers = snapshot.teachers("fickle-teacher")
    together = pd.concat(
        [
            found.assign(x=found["teacher.model.dropout"].fillna(0.0), group="student"),
            teachers.assign(x=teachers["model.dropout"].fillna(0.0), group="teacher"),
        ],
        ignore_index=True,
    )
    return Study(
        together,
        "Dropout rate of the teacher",
        {"student": "student", "teacher": "teacher, dropout off"},
    )


def soft_randomization(snapshot: Snapshot) -> Study:
    found = students(snapshot, "soft-randomization")
    names = {"soft_randomization": "Soft Randomization", "no_teacher": "noise, no teacher"}
    return Study(
        found.assign(x=found["noise.input.sigma"].fillna(0.0), group=found["case"]),
        SIGMA_INPUT,
        names,
    )


def exponential_family(snapshot: Snapshot) -> Study:
    found = students(snapshot, "exponential-family")
    names = {"gaussian": "Gaussian", "laplace": "Laplace", "uniform": "uniform"}
    return Study(
        found.assign(x=found["noise.input.sigma"], group=found["noise.input.name"]),
        SIGMA_INPUT,
        names,
    )


def random_swapping(snapshot: Snapshot) -> Study:
    found = students(snapshot, "random-swapping")
    plain = found["case"].eq("no_swapping")
    swapped, words = found[~plain], {"top2": "top 2", "all": "all"}
    threshold = of_noise(swapped, "threshold")
    group = swapped["case"] + threshold.map(lambda value: f"|{value:g}")
    kinds = sorted(group.unique(), key=lambda name: (name.startswith("all"), name))
    names = {name: f"{words[name.split('|')[0]]}, threshold {name.split('|')[1]}" for name in kinds}
    return Study(
        swapped.assign(x=of_noise(swapped, "probability").astype(float), group=group),
        "Probability of swapping",
        names,
        found[plain],
        "no swapping",
    )


def label_corruption(snapshot: Snapshot) -> Study:
    found = students(snapshot, "label-corruption")
    teachers = snapshot.teachers("label-corruption")
    rate = found["noise.labels.rate"].fillna(found["teacher.noise.labels.rate"]).fillna(0.0)
    found = found.assign(x=100 * rate, group=found["case"])
    # Nothing corrupted is the same trial in every case with a teacher, and trained once.
    clean = found[found["group"].eq("corrupted_s") & found["x"].eq(0)]
    parts = [
        found,
        *(clean.assign(group=name) for name in ("corrupted_t", "corrupted_ts", "fixed")),
    ]
    parts.append(
        teachers.assign(x=100 * teachers["noise.labels.rate"].fillna(0.0), group="teacher")
    )
    names = {
        "corrupted_s": "Corrupted-S",
        "corrupted_t": "Corrupted-T",
        "corrupted_ts": "Corrupted-TS",
        "fixed": "S, labels drawn once",
        "no_teacher": "no teacher",
        "teacher": "teacher itself",
    }
    return Study(pd.concat(parts, ignore_index=True), RATE, names)


TEST, OOD, PGD = (
    "Test accuracy (%)",
    "Accuracy on CINIC-10's\nImageNet images (%)",
    "Accuracy under PGD (%)",
)


def accuracies(snapshot: Snapshot, study: Study, which: str) -> pd.DataFrame:
    """The trials of a study with one of the three accuracies as ``value``; empty where it was not
    measured."""
    match which:
        case "test":
            return study.trials.assign(value=study.trials["test_accuracy"]).dropna(subset="value")
        case "ood":
            return of_one_evaluation(
                snapshot.measured(study.trials, evaluation="out_of_distribution")
            )
    return under_pgd(snapshot, study.trials)


def against(
    snapshot: Snapshot,
    study: Study,
    which: Sequence[str],
    *,
    name: str,
    title: str,
    what: str,
    source: str,
    stars: Mapping[str, Mapping[float, float]] | None = None,
) -> Figure:
    """A panel for each accuracy of ``which`` (test, ood, pgd) against what the study varies;
    ``stars``: published numbers of accuracy under PGD by group and x."""
    figure, all_axes = panels(len(which))
    measured = {kind: accuracies(snapshot, study, kind) for kind in which}
    shown, lacking = [], []
    for letter, (kind, rows), axes in zip("abc", measured.items(), all_axes, strict=False):
        label = {"test": TEST, "ood": OOD, "pgd": PGD}[kind]
        labelled(axes, study.xlabel, label, f"({letter})" if len(which) > 1 else "")
        if rows.empty:
            lacking.append(kind)
            absent(axes, "not measured" if kind == "test" else "not measured:\nsee the caption")
            continue
        shown.append(rows.assign(panel=kind))
        if len(study.reference):
            plain = accuracies(snapshot, Study(study.reference, "", {}), kind)
            reference(axes, plain, "value", study.level)
            shown.append(plain.assign(panel=kind, group="", x=0.0))
        lines(axes, rows, "x", "value", by="group", order=list(study.names), names=study.names)
        for group, at in (stars or {}).items() if kind == "pgd" else ():
            marks(axes, list(at), list(at.values()), "published", list(study.names).index(group))
        from_zero(axes)
    legend(figure)
    if "pgd" in which and "pgd" not in lacking:
        what = f"{what} {attack_text(measured['pgd'])}."
    if lacking:
        told = {
            "test": "test accuracy",
            "ood": "out-of-distribution accuracy",
            "pgd": "accuracy under PGD",
        }
        what = f"{what} Not measured: {' and '.join(told[kind] for kind in lacking)} ({EVALUATE})."
    captioned = caption(
        what,
        pd.concat(shown or [study.trials.assign(panel="")]),
        ["panel", "group", "x"],
        source=source and f"{TITLE}, {source}",
        band="Error bars" if shown else "",
    )
    return Figure(name, title, captioned, figure)


def relative(snapshot: Snapshot, trials: pd.DataFrame) -> pd.DataFrame:
    """A row for every model and corruption: accuracy relative to clean accuracy. The official
    images come before generated ones where as many models were measured on them."""
    generated, official = (
        of_one_evaluation(snapshot.measured(trials, evaluation=kind, metric="relative_accuracy"))
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
    measured = {panel: relative(snapshot, trials) for panel, trials in panels_of.items()}
    order = {panel: list(trials["row"].drop_duplicates()) for panel, trials in panels_of.items()}
    kinds = ALL + sorted(
        {str(kind) for found in measured.values() for kind in found["corruption"]} - set(ALL)
    )
    maps = {
        panel: cells(found, "row", "corruption", "value").reindex(index=order[panel], columns=kinds)
        for panel, found in measured.items()
    }
    if as_printed is not None:
        maps["as printed, CIFAR-10"] = as_printed.reindex(columns=kinds)
    shown = 100 * np.concatenate([values.to_numpy(float) for values in maps.values()])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    heights = [0.19 * len(values) for values in maps.values()]
    figure, all_axes = panels(
        len(maps), columns=1, width=PAGE, height=heights, below=NAMES + 0.32 * len(maps)
    )
    for axes, (panel, values) in zip(all_axes, maps.items(), strict=True):
        image = heat_map(axes, values, low=low, high=high, bar=False)
        labelled(axes, "", rows, panel if len(maps) > 1 else "")
        for edge in (3.5, 8.5, 13.5):
            axes.axvline(edge, color=PAPER, linewidth=2)
        axes.tick_params(labelbottom=axes is all_axes[-1])
    all_axes[-1].set_xticklabels([name.replace("_", " ") for name in kinds], rotation=90)
    color_bar(image, all_axes, "Accuracy relative to clean (%)")
    found = pd.concat(measured.values())
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


def printed_number(section: str, row: str) -> float:
    """An accuracy under PGD from the paper's text, in percent."""
    return printed(PRINTED, f"text, {section}", row, ATTACKS[section])


def printed_heat_map() -> pd.DataFrame | None:
    """Figure 5 as printed: fractions, a row for each σ."""
    numbers = PRINTED[PRINTED["item"].eq("Figure 5")]
    if numbers.empty:
        return None
    values = numbers.assign(
        row=numbers["row"].str.removeprefix("sigma="), value=numbers["value"].astype(float) / 100
    )
    return values.pivot(index="row", columns="column", values="value").loc[values["row"].unique()]


def figure_1(snapshot: Snapshot) -> Figure:
    """Signal-dependent noise on the teacher's logits (figure 1)."""
    what = (
        "Signal-dependent noise on the teacher's logits, z (1 + δ), against its standard "
        "deviation: (a) accuracy on the test "
        "set, (b) on images of another distribution, (c) under attack."
    )
    return against(
        snapshot,
        signal_dependent(snapshot),
        ["test", "ood", "pgd"],
        name="figure_1",
        what=what,
        title="Signal-dependent noise on the teacher's logits",
        source="figure 1",
    )


def figure_2(snapshot: Snapshot) -> Figure:
    """Fickle Teacher: dropout that stays active while the teacher is asked (figure 2)."""
    what = (
        "Students of a teacher whose dropout stays active while it is asked, and the "
        "teachers themselves (without active "
        "dropout, all seeds), against the dropout rate: (a) accuracy on the test set, (b) "
        "on images of another "
        "distribution, (c) under attack."
    )
    return against(
        snapshot,
        fickle_teacher(snapshot),
        ["test", "ood", "pgd"],
        name="figure_2",
        what=what,
        title="Fickle Teacher: dropout as noise of the supervision",
        source="figure 2",
    )


def figure_3(snapshot: Snapshot) -> Figure:
    """Soft Randomization: accuracy on unseen images against the noise (figure 3)."""
    what = (
        "Gaussian noise on the student's input with a teacher that sees the clean image, "
        "and without a teacher, against its "
        "standard deviation: accuracy (a) on the test set, (b) on images of another distribution."
    )
    return against(
        snapshot,
        soft_randomization(snapshot),
        ["test", "ood"],
        name="figure_3",
        what=what,
        title="Soft Randomization: accuracy on unseen images",
        source="figure 3",
    )


def figure_4(snapshot: Snapshot) -> Figure:
    """Soft Randomization: accuracy under PGD against the noise (figure 4)."""
    stars = {
        "soft_randomization": {
            0.05: printed_number("section 4.3", "sigma=0.05, soft randomization")
        },
        "no_teacher": {0.05: printed_number("section 4.3", "sigma=0.05, student trained alone")},
    }
    what = (
        "Accuracy under attack of students trained with Gaussian noise on their input, "
        "with and without a teacher that sees "
        "the clean image. Stars, in the colour of their line: the two numbers that the "
        "text gives for "
        "CIFAR-10, of an attack whose ε it does not give."
    )
    return against(
        snapshot,
        soft_randomization(snapshot),
        ["pgd"],
        name="figure_4",
        what=what,
        stars=stars,
        title="Soft Randomization: accuracy under attack",
        source="figure 4 and section 4.3",
    )


def exponential(snapshot: Snapshot) -> Figure:
    """Gaussian, Laplace and uniform noise on the student's input (not in the paper)."""
    what = (
        "Three kinds of noise on the student's input at equal standard deviation: (a) "
        "accuracy on the test set, (b) on images "
        "of another distribution, (c) under attack. Not in the paper, which cites theory "
        "on Gaussian and Laplace noise."
    )
    return against(
        snapshot,
        exponential_family(snapshot),
        ["test", "ood", "pgd"],
        name="exponential_family",
        what=what,
        title="The kind of noise on the student's input",
        source="",
    )


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


CORRUPTED = ("corrupted_s", "corrupted_t", "corrupted_ts")
LEGEND_T = (
    "wrong labels for the student (Corrupted-S), the teacher (T) or both (TS), drawn anew in "
    "every epoch"
)


def figure_7(snapshot: Snapshot) -> Figure:
    """Label corruption of teacher, student or both: accuracy on unseen images (figure 7)."""
    study = label_corruption(snapshot).of(*CORRUPTED, "no_teacher")
    what = (
        f"Accuracy (a) on the test set, (b) on images of another distribution, with {LEGEND_T}, "
        "and without a teacher."
    )
    return against(
        snapshot,
        study,
        ["test", "ood"],
        name="figure_7",
        what=what,
        title="Label corruption: accuracy on unseen images",
        source="figure 7",
    )


def figure_8(snapshot: Snapshot) -> Figure:
    """Label corruption of teacher, student or both: accuracy under PGD (figure 8)."""
    stars = {
        "teacher": {
            0.0: printed_number("section 4.4", "teacher, rate=0"),
            5.0: printed_number("section 4.4", "teacher, rate=0.05"),
        }
    }
    study = label_corruption(snapshot).of(*CORRUPTED, "no_teacher", "teacher")
    what = (
        f"Accuracy under attack with {LEGEND_T}, without a teacher, and of the teachers. "
        "Figure 8 has no caption in the text: "
        "section 4.4, which it belongs to, speaks of this accuracy here. Stars: the text's "
        "numbers for the teacher (CIFAR-10)."
    )
    return against(
        snapshot,
        study,
        ["pgd"],
        name="figure_8",
        what=what,
        stars=stars,
        title="Label corruption: accuracy under attack",
        source="figure 8 and section 4.4",
    )


def figure_9(snapshot: Snapshot) -> Figure:
    """Random swapping of classes that the teacher finds about equally likely (figure 9)."""
    what = (
        "Swapping the two likeliest classes (top 2) or all neighbours in rank whose "
        "softened probabilities differ by less than "
        "a threshold, by the probability of doing so: (a) accuracy on the test set, (b) on "
        "images of another distribution, "
        "(c) under attack."
    )
    return against(
        snapshot,
        random_swapping(snapshot),
        ["test", "ood", "pgd"],
        name="figure_9",
        what=what,
        title="Random swapping of the teacher's classes",
        source="figure 9",
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


def figure_12(snapshot: Snapshot) -> Figure:
    """Wrong labels of the student drawn once, and anew in every epoch (figure 12)."""
    what = (
        "Wrong labels for the student that are drawn once and kept (the paper's figure) "
        "and anew in every epoch: (a) accuracy "
        "on the test set, (b) on images of another distribution, (c) under attack."
    )
    study = label_corruption(snapshot).of("corrupted_s", "fixed")
    return against(
        snapshot,
        study,
        ["test", "ood", "pgd"],
        name="figure_12",
        what=what,
        title="Fixed label corruption",
        source="figure 12",
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


def numbers_of_the_text(snapshot: Snapshot) -> Table:
    """Numbers that the text gives, and ours."""
    soft, wrong = soft_randomization(snapshot), label_corruption(snapshot)
    asked = (
        (
            "4.3",
            "sigma=0.05, soft randomization",
            "Soft Randomization, σ 0.05",
            soft,
            "soft_randomization",
            0.05,
        ),
        (
            "4.3",
            "sigma=0.05, student trained alone",
            "noise without a teacher, σ 0.05",
            soft,
            "no_teacher",
            0.05,
        ),
        ("4.4", "teacher, rate=0", "teacher, clean labels", wrong, "teacher", 0.0),
        ("4.4", "teacher, rate=0.05", "teacher, 5 % wrong labels", wrong, "teacher", 5.0),
    )
    rows, used = [], []
    for section, row, words, study, group, x in asked:
        found = under_pgd(snapshot, study.of(group).trials)
        at = found[found["x"].eq(x)] if len(found) else found
        ours = Spread.of(at["value"], 100) if len(at) else None
        rows.append(
            {
                "model": words,
                "published (%)": printed_number(f"section {section}", row),
                "ours (%)": ours,
            }
        )
        used.append(at)
    everything = only(pd.concat(used), f"nothing was attacked with PGD: {EVALUATE}")
    what = (
        "Accuracy under attack, as the text gives it for CIFAR-10 without its ε, and ours "
        f"({attack_text(everything)})"
    )
    return Table(
        "numbers_of_the_text",
        "Accuracy under attack: the text's numbers and ours",
        caption(
            what, everything, ["group", "x"], source=f"{TITLE}, sections 4.3 and 4.4", band="±"
        ),
        pd.DataFrame(rows),
    )


DRAWS = (
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    exponential,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
    figure_9,
    figure_10,
    figure_11,
    figure_12,
    figure_13,
    numbers_of_the_text,
)


def main(argv: Sequence[str] | None = None) -> int:
    return run("Noisy Collaboration in Knowledge Distillation", DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
