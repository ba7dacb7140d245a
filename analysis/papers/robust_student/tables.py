"""Tables I to VII."""

from __future__ import annotations

import pandas as pd

from kdray.report import Snapshot, Table, of_one_evaluation, of_one_point, only
from kdray.report.papers.published_table import Column, Line, number_of_each, published_table
from kdray.results.points.machines import machine_names
from papers.robust_student.networks import (
    BOTH,
    CASES,
    CIFAR,
    CLASSES,
    DIGITS,
    IN_DECIBELS,
    MNIST,
    PRINTED,
    SUITE,
    line_of_each_network,
    on_data,
    trained_networks,
    trials_of,
)

FULL_NAMES = {"KD": "Knowledge Distillation"}
"""As tables IV and VI call them."""
OTHER_PAPERS = ("Maxout Network", "Network in Network", "Deeply-Supervised Networks")
WEAK_PEAK, STRONG_PEAK = 64, 16
"""Photons at white of Poisson noise: in training, and as strong as Gaussian noise of 10 dB."""


def table_i(snapshot: Snapshot) -> Table:
    """Table I: noise in training against noise in the test."""
    teachers = trials_of(snapshot, "robust-training-noise", "teacher").assign(network="Teacher")
    students = trials_of(snapshot, "robust-training-noise", "student")
    students["network"] = students["case"].str.split("_").str[0].map(CASES)
    # Students and noises that the table does not know stand in none of its cells.
    known = students.dropna(subset=["network"])
    trials = pd.concat([teachers, known], ignore_index=True)
    noise = trials["noise.input.name"]
    trials["training"] = noise.map({"gaussian_snr": "G", "poisson": "P"}).mask(noise.isna(), "C")
    gaussian = snapshot.measured(trials, evaluation="signal_to_noise")
    gaussian = of_one_evaluation(gaussian[gaussian["snr"].eq(10)], at=IN_DECIBELS)
    poisson = snapshot.measured(trials, evaluation="poisson_noise")
    poisson = poisson[poisson["peak"].isin([WEAK_PEAK, STRONG_PEAK])]
    poisson = of_one_evaluation(poisson, ["peak"])
    tested = {
        "C": trials["test_accuracy"],
        "G": number_of_each(trials, gaussian),
        "P": number_of_each(trials, poisson[poisson["peak"].eq(WEAK_PEAK)]),
    }
    strong = {**tested, "P": number_of_each(trials, poisson[poisson["peak"].eq(STRONG_PEAK)])}
    settings = ["C/C", "C/G", "C/P", "G/G", "G/P", "P/P", "P/G"]
    lines = []
    for numbers, suffix in ((tested, ""), (strong, f", {STRONG_PEAK} photons")):
        for network in ("Teacher", *CASES.values()):
            # The paper's robust student is trained on clean images in every column.
            columns = {
                setting: numbers[setting[2]].where(
                    trials["training"].eq("C" if network == "Robust" else setting[0])
                )
                for setting in settings
                if not suffix or setting[2] == "P"
            }
            own = trials["network"].eq(network)
            lines.append(
                Line(
                    f"{network}{suffix}",
                    trials.assign(**columns)[own],
                    "teacher" if network == "Teacher" else "student",
                )
            )
    what = (
        "Test accuracy (%) by noise in training/test (C: none, G: Gaussian at 10 dB, P: "
        "Poisson with 64 photons at white, and "
        "in tests also with 16, as strong as 10 dB); the robust student is trained on "
        "clean images in every column"
    )
    title = "noise in training against noise in the test"
    return published_table(
        "Table I",
        PRINTED,
        [Column(setting, setting) for setting in settings],
        lines,
        title=title,
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def table_ii(snapshot: Snapshot) -> Table:
    """Table II: occluded images."""
    trials = trained_networks(snapshot, "robust-cifar")
    sides = {side: f"{side}×{side} block" for side in (2, 4, 6, 8, 10)}
    lines = []
    for data, name in (("CIFAR10", "cifar10"), ("CIFAR100", "cifar100")):
        part = on_data(trials, name, first="cifar10", others=("cifar100",))
        measured = of_one_evaluation(snapshot.measured(part, evaluation="occlusion"), ["side"])
        numbers = {
            column: number_of_each(part, measured[measured["side"].eq(side)])
            for side, column in sides.items()
        }
        for line in line_of_each_network(part.assign(**numbers)):
            lines.append(line._replace(row=f"{data}, {line.row}"))
    what = "Test accuracy (%) with a black square of each size at a random place"
    columns = [Column(name, name) for name in sides.values()]
    return published_table(
        "Table II",
        PRINTED,
        columns,
        lines,
        title="occluded images",
        what=what,
        source=BOTH,
        head="Network",
        under=True,
    )


def table_iii(snapshot: Snapshot) -> Table:
    """Table III: from one set of digits to another."""
    students, teachers = (
        trials_of(snapshot, "robust-domains", role) for role in ("student", "teacher")
    )
    students["network"] = students["case"].str.split("_").str[1].map(CASES)
    trials = pd.concat([teachers.assign(network="Teacher"), students], ignore_index=True)
    # Digits that stand in for USPS (as --smoke trains on) are padded as it is.
    home = trials["data.name"].ne("mnist") & trials["data.pad"].gt(0)
    home |= trials["data.name"].eq("usps")
    for setting, own, other, at in (
        ("MNIST2USPS", "MNIST", "USPS", ~home),
        ("USPS2MNIST", "USPS", "MNIST", home),
    ):
        away = snapshot.measured(trials[at], evaluation="out_of_distribution")
        away = of_one_evaluation(away[away["dataset"].eq(other.lower())])
        trials[f"{setting}, {own}"] = trials["test_accuracy"].where(at)
        trials[f"{setting}, {other}"] = number_of_each(trials, away)
    names = ["MNIST2USPS, MNIST", "MNIST2USPS, USPS", "USPS2MNIST, USPS", "USPS2MNIST, MNIST"]
    what = (
        "Test accuracy (%) of networks trained on MNIST and on USPS, on their own data and "
        "on the other; the other is "
        "measured by kdray evaluate RESULTS --suite sweeps/suites/domain_adaptation.yaml"
    )
    columns = [Column(name, name.replace("2", " to ").replace(", ", ": on ")) for name in names]
    title = "from one set of digits to another"
    return published_table(
        "Table III",
        PRINTED,
        columns,
        list(line_of_each_network(trials)),
        title=title,
        what=what,
        source=DIGITS,
        head="Network",
        under=True,
    )


def table_iv(snapshot: Snapshot) -> Table:
    """Table IV: accuracy on CIFAR-10 and CIFAR-100."""
    trials = trained_networks(snapshot, "robust-cifar")
    numbers = {"#params": trials["weights"]}
    for column, name in (("CIFAR-10", "cifar10"), ("CIFAR-100", "cifar100")):
        on = on_data(trials, name, first="cifar10", others=("cifar100",))
        numbers[column] = trials["test_accuracy"].where(trials["trial_id"].isin(on["trial_id"]))
    names = {**FULL_NAMES, "Robust": "Robust learning"}
    lines = [
        *line_of_each_network(trials.assign(**numbers), names),
        *(Line(row, trials.iloc[:0]) for row in OTHER_PAPERS),
    ]
    columns = [
        Column("#params", "Weights", None),
        Column("CIFAR-10", "CIFAR-10, %"),
        Column("CIFAR-100", "CIFAR-100, %"),
    ]
    what = "Size and test accuracy on clean images; the last three rows are other papers' networks"
    return published_table(
        "Table IV",
        PRINTED,
        columns,
        lines,
        title="accuracy on clean images",
        what=what,
        source=BOTH,
        head="Network",
    )


def table_v(snapshot: Snapshot) -> Table:
    """Table V: accuracy of each class."""
    trials = on_data(
        trained_networks(snapshot, "robust-cifar"), "cifar10", first="cifar10", others=("cifar100",)
    )
    measured = snapshot.measured(trials, evaluation="clean", metric="class_accuracy")
    measured = only(of_one_evaluation(measured), f"no accuracy of each class: {SUITE}")
    numbers = {
        name: number_of_each(trials, measured[measured["class"].eq(number)])
        for number, name in enumerate(CLASSES)
    }
    real = trials["data.name"].eq("cifar10").all()
    columns = [
        Column(name, name if real else f"{number} ({name})") for number, name in enumerate(CLASSES)
    ]
    what = "Test accuracy (%) of each class" + (
        "" if real else " (in brackets: the class of CIFAR-10 with its number)"
    )
    lines = list(line_of_each_network(trials.assign(**numbers)))
    title = "accuracy of each class"
    return published_table(
        "Table V",
        PRINTED,
        columns,
        lines,
        title=title,
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def table_vi(snapshot: Snapshot) -> Table:
    """Table VI: errors on MNIST."""
    trials = trained_networks(snapshot, "robust-mnist")
    trials = trials.assign(
        **{"#params": trials["weights"], "Misclass": 1 - trials["test_accuracy"]}
    )
    more = {
        "output_regression": "Output regression (eq. 2)",
        "margin": "Margin, without L_G",
        "gradient": "Gradients, without L_S",
    }
    lines = [
        *line_of_each_network(trials, {**FULL_NAMES, "No teacher": "Standard back-propagation"}),
        *(Line(row, trials[trials["case"].eq(case)]) for case, row in more.items()),
        *(Line(row, trials.iloc[:0]) for row in OTHER_PAPERS),
    ]
    columns = [Column("#params", "Weights", None), Column("Misclass", "Test error, %")]
    what = "Size and test error on clean images; the last three rows are other papers' networks"
    return published_table(
        "Table VI",
        PRINTED,
        columns,
        lines,
        title="errors on MNIST",
        what=what,
        source=MNIST,
        head="Network",
    )


def table_vii(snapshot: Snapshot) -> Table:
    """Table VII: students of several sizes."""
    students, teachers = (
        trials_of(snapshot, "robust-sizes", role) for role in ("student", "teacher")
    )
    of_one_point(teachers, [], "The teacher's size and speed, with which table VII compares,")
    lines = [
        Line(
            "Teacher",
            _sizes(teachers, teachers).assign(Accuracy=teachers["test_accuracy"]),
            "teacher",
        )
    ]
    for number in range(1, 5):
        part = students[students["model.network"].eq(f"student_{number}")]
        by_case = {
            CASES[case]: part["test_accuracy"].where(part["case"].eq(case))
            for case in ("fitnet", "robust")
        }
        lines.append(Line(f"Student {number}", _sizes(part, teachers).assign(**by_case)))
    columns = [
        Column("#params", "Weights", None),
        Column("#mult", "Multiplications", None),
        Column("Speed-up Ratio", "Speed-up", 1),
        Column("Compression Ratio", "Compression", 1),
        Column("Accuracy", "Teacher, %"),
        Column("FitNet", "FitNet, %"),
        Column("Robust", "Robust, %"),
    ]
    timed = pd.concat([line.trials for line in lines]).dropna(subset=["Speed-up Ratio"])
    machines = machine_names(timed).nunique()
    what = (
        "Size, speed (images per second as a multiple of the teacher's, on the machine "
        f"that trained{f', here one of {machines}' if machines > 1 else ''}) and test accuracy of "
        "students of four sizes, taught in two ways"
    )
    return published_table(
        "Table VII",
        PRINTED,
        columns,
        lines,
        title="students of several sizes",
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def _sizes(trials: pd.DataFrame, teachers: pd.DataFrame) -> pd.DataFrame:
    machine, of_teachers = (machine_names(rows).fillna("") for rows in (trials, teachers))
    speeds = teachers.groupby(of_teachers)["images_per_second"].mean()
    speed = trials["images_per_second"] / machine.map(speeds)
    smaller = teachers["weights"].iloc[0] / trials["weights"]
    # Of one way of teaching: the other's students are the same networks.
    speed, smaller = (ratio.where(~trials["case"].eq("fitnet")) for ratio in (speed, smaller))
    return trials.assign(
        **{
            "#params": trials["weights"],
            "#mult": trials["macs"],
            "Speed-up Ratio": speed,
            "Compression Ratio": smaller,
        }
    )
