"""Tables and figures of Robust Student Network Learning (Guo, Xu, He, Shi, Xu, Tao).

    python analysis/robust_student.py RESULTS --out DIR

Figure 2 and tables III and VI are of sweeps/robust_student/mnist.yaml, cifar.yaml and
domain_adaptation.yaml, table I of training_noise.yaml, tables II, IV and V of cifar.yaml, table VII
of student_sizes.yaml. Table V, figure 3 and what the sweeps leave out of figure 2 are measured by
kdray evaluate RESULTS --suite sweeps/suites/robust_student.yaml.

Figure 3 shows the images that it is about where RESULTS/images/DATASET.npz holds them, which Python
writes (an experiment is what the column of that name holds; first: mkdir RESULTS/images):

    test = kdray.Experiment.parse(json.loads(experiment)).data.test_split(data_folder)
    numpy.savez(file, images=test.images[:5].movedim(1, -1).numpy(), labels=test.labels[:5].numpy())
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd

from kdray.core import InputError
from kdray.report import (
    PAGE,
    Draw,
    Drawing,
    Figure,
    Snapshot,
    Table,
    bars,
    caption,
    data_name,
    images_with_scores,
    labelled,
    legend,
    lines,
    marks,
    only,
    panels,
    published,
    run,
)
from kdray.report.papers.published_table import Column, Line, mean_of_each, printed, published_table

TITLE = "Robust Student Network Learning"
PAPER = "Guo et al."
CIFAR, BOTH, MNIST, DIGITS = (
    f"{PAPER}, whose numbers are of {data}"
    for data in ("CIFAR-10", "CIFAR-10 and CIFAR-100", "MNIST", "MNIST and USPS")
)
PRINTED = published("robust_student")
SUITE = "kdray evaluate RESULTS --suite sweeps/suites/robust_student.yaml"
COLUMNS = [
    "trial_id",
    "seed",
    "data.name",
    "data.pad",
    "noise.input.name",
    "model.network",
    "val_accuracy",
    "test_accuracy",
    "weights",
    "macs",
    "images_per_second",
]
CASES = {"kd": "KD", "fitnet": "FitNet", "robust": "Robust"}
NETWORKS = ("Teacher", "No teacher", *CASES.values())
LONG = {"KD": "Knowledge Distillation"}
"""As tables IV and VI call them."""
OTHERS = ("Maxout Network", "Network in Network", "Deeply-Supervised Networks")
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WEAK, STRONG = 64, 16
"""Photons at white of Poisson noise: in training, and as strong as Gaussian noise of 10 dB."""


def figure_2(snapshot: Snapshot) -> Figure:
    """Figure 2: accuracy against the signal-to-noise ratio."""
    sweeps = [name for name in ("robust-mnist", "robust-cifar") if name in snapshot.sweeps]
    if not sweeps:
        raise InputError(
            "no trained students of the sweeps robust-mnist and robust-cifar: kdray run them first"
        )
    trials = pd.concat([networks(snapshot, sweep) for sweep in sweeps], ignore_index=True)
    measured = snapshot.measured(trials, evaluation="signal_to_noise")
    # One trial may have been measured at a ratio by the sweep and by a suite.
    once = measured.groupby(
        ["sweep", "data.name", "network", "trial_id", "seed", "snr"], as_index=False
    )[["value"]]
    rows = only(once.mean(), f"no accuracy under Gaussian noise: {SUITE}")
    drawn = [
        (sweep, str(name), part)
        for sweep in sweeps
        for name, part in rows[rows["sweep"].eq(sweep)].groupby("data.name")
    ]
    figure, axes = panels(len(drawn))
    for axis, (sweep, name, part) in zip(axes, drawn, strict=True):
        lines(axis, part, "snr", "value", by="network", order=NETWORKS)
        labelled(
            axis, "Signal-to-noise ratio (dB)", "", f"{data_name(name).split(' (')[0]}, {sweep}"
        )
        if sweep == "robust-mnist":
            star = printed(PRINTED, "text, section V.B", "Robust, MNIST, SNR=2", "Accuracy")
            marks(axis, [2], [star], "Robust on MNIST, published", NETWORKS.index("Robust"))
    axes[0].set_ylabel("Test accuracy (%)")
    legend(figure)
    missing = [network for network in NETWORKS if not rows["network"].eq(network).any()]
    what = (
        "Accuracy on test images with Gaussian noise, by signal-to-noise ratio (the less, "
        "the more noise), of networks trained "
        "on clean images; star: published in the text of section V.B"
    )
    what += f"; not measured: {', '.join(missing)}" if missing else ""
    told = caption(what, rows, ["sweep", "data.name", "network"], source=f"{PAPER}, figure 2")
    return Figure("figure_2", "Figure 2: accuracy against the signal-to-noise ratio", told, figure)


def figure_3(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figure 3: prediction scores of single images."""
    trials = networks(snapshot, "robust-cifar")
    measured = snapshot.measured(trials, evaluation="prediction_scores", metric="score")
    measured = only(measured, f"no prediction scores: {SUITE}").astype({"class": int, "image": int})
    for name, rows in measured.groupby("data.name"):
        # A clean image has no noise: its ratio is infinite, which comes first.
        at = list(zip(rows["image"], -rows["snr"].fillna(np.inf), strict=True))
        shown = sorted(set(at))
        rows = rows.assign(score=rows["value"], panel=[shown.index(place) for place in at])
        titles = [
            f"Image {image}, {'clean' if np.isinf(snr) else f'{-snr:g} dB'}" for image, snr in shown
        ]
        kept = _images(snapshot, str(name))
        known = kept if kept is not None and rows["image"].max() < len(kept[0]) else None
        what = (
            "Softmax scores of test images, numbered by their position in the test set, by "
            "class and network, mean over the "
            "seeds, on clean images and under Gaussian noise of the ratio given"
        )
        if known is None:
            figure = _scores(rows, titles)
            what += f"; the images are not in the results (they would be in images/{name}.npz)"
        else:
            at_hand, classes = known
            numbers = [image for image, _ in shown]
            scores = rows.drop(columns="image").rename(columns={"panel": "image"})
            figure = images_with_scores(
                at_hand[numbers],
                scores,
                titles,
                by="network",
                classes=_classes(rows),
                order=_known(rows),
                truth=classes[numbers].tolist(),
                width=PAGE,
            )
            what += "; beside them the images without noise, the true class shaded"
        band = "Error bars" if known is None else ""
        told = caption(what, rows, ["network"], source=f"{PAPER}, figure 3", band=band)
        yield Figure(
            f"figure_3_{name}", f"Figure 3: prediction scores, {data_name(str(name))}", told, figure
        )


def table_i(snapshot: Snapshot) -> Table:
    """Table I: noise in training against noise in the test."""
    of_roles = [_trials(snapshot, "robust-training-noise", role) for role in ("teacher", "student")]
    trials = pd.concat(of_roles, ignore_index=True)
    trials["training"] = (
        trials["noise.input.name"].map({"gaussian_snr": "G", "poisson": "P"}).fillna("C")
    )
    trials["network"] = trials["case"].str.split("_").str[0].map(CASES).fillna("Teacher")
    gaussian = snapshot.measured(trials, evaluation="signal_to_noise")
    poisson = snapshot.measured(trials, evaluation="poisson_noise")
    tested = {
        "C": trials["test_accuracy"],
        "G": mean_of_each(trials, gaussian[gaussian["snr"].eq(10)]),
        "P": mean_of_each(trials, poisson[poisson["peak"].eq(WEAK)]),
    }
    strong = {**tested, "P": mean_of_each(trials, poisson[poisson["peak"].eq(STRONG)])}
    settings = ["C/C", "C/G", "C/P", "G/G", "G/P", "P/P", "P/G"]
    found = []
    for numbers, suffix in ((tested, ""), (strong, f", {STRONG} photons")):
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
            found.append(
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
        found,
        title=title,
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def table_ii(snapshot: Snapshot) -> Table:
    """Table II: occluded images."""
    trials = networks(snapshot, "robust-cifar")
    measured = snapshot.measured(trials, evaluation="occlusion")
    sides = {side: f"{side}×{side} block" for side in (2, 4, 6, 8, 10)}
    trials = trials.assign(
        **{
            name: mean_of_each(trials, measured[measured["side"].eq(side)])
            for side, name in sides.items()
        }
    )
    found = [
        line._replace(row=f"{data}, {line.row}")
        for data, name in (("CIFAR10", "cifar10"), ("CIFAR100", "cifar100"))
        for line in _lines(_on(trials, name, first="cifar10", others=("cifar100",)))
    ]
    what = "Test accuracy (%) with a black square of each size at a random place"
    columns = [Column(name, name) for name in sides.values()]
    return published_table(
        "Table II",
        PRINTED,
        columns,
        found,
        title="occluded images",
        what=what,
        source=BOTH,
        head="Network",
        under=True,
    )


def table_iii(snapshot: Snapshot) -> Table:
    """Table III: from one set of digits to another."""
    students, teachers = (
        _trials(snapshot, "robust-domains", role) for role in ("student", "teacher")
    )
    students["network"] = students["case"].str.split("_").str[1].map(CASES)
    trials = pd.concat([teachers.assign(network="Teacher"), students], ignore_index=True)
    home = trials["data.pad"].gt(0) | trials["data.name"].eq("usps")
    transferred = snapshot.measured(trials, evaluation="out_of_distribution")
    for setting, own, other, at in (
        ("MNIST2USPS", "MNIST", "USPS", ~home),
        ("USPS2MNIST", "USPS", "MNIST", home),
    ):
        away = transferred[transferred["dataset"].eq(other.lower())]
        trials[f"{setting}, {own}"] = trials["test_accuracy"].where(at)
        trials[f"{setting}, {other}"] = mean_of_each(trials, away).where(at)
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
        list(_lines(trials)),
        title=title,
        what=what,
        source=DIGITS,
        head="Network",
        under=True,
    )


def table_iv(snapshot: Snapshot) -> Table:
    """Table IV: accuracy on CIFAR-10 and CIFAR-100."""
    trials = networks(snapshot, "robust-cifar")
    numbers = {"#params": trials["weights"]}
    for column, name in (("CIFAR-10", "cifar10"), ("CIFAR-100", "cifar100")):
        on = _on(trials, name, first="cifar10", others=("cifar100",))
        numbers[column] = trials["test_accuracy"].where(trials["trial_id"].isin(on["trial_id"]))
    names = {**LONG, "Robust": "Robust learning"}
    found = [
        *_lines(trials.assign(**numbers), names),
        *(Line(row, trials.iloc[:0]) for row in OTHERS),
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
        found,
        title="accuracy on clean images",
        what=what,
        source=BOTH,
        head="Network",
    )


def table_v(snapshot: Snapshot) -> Table:
    """Table V: accuracy of each class."""
    trials = _on(
        networks(snapshot, "robust-cifar"), "cifar10", first="cifar10", others=("cifar100",)
    )
    measured = snapshot.measured(trials, evaluation="clean", metric="class_accuracy")
    measured = only(measured, f"no accuracy of each class: {SUITE}")
    numbers = {
        name: mean_of_each(trials, measured[measured["class"].eq(number)])
        for number, name in enumerate(CLASSES)
    }
    real = trials["data.name"].eq("cifar10").all()
    columns = [
        Column(name, name if real else f"{number} ({name})") for number, name in enumerate(CLASSES)
    ]
    what = "Test accuracy (%) of each class" + (
        "" if real else " (in brackets: the class of CIFAR-10 with its number)"
    )
    found = list(_lines(trials.assign(**numbers)))
    title = "accuracy of each class"
    return published_table(
        "Table V",
        PRINTED,
        columns,
        found,
        title=title,
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def table_vi(snapshot: Snapshot) -> Table:
    """Table VI: errors on MNIST."""
    trials = networks(snapshot, "robust-mnist")
    trials = trials.assign(
        **{"#params": trials["weights"], "Misclass": 1 - trials["test_accuracy"]}
    )
    more = {
        "output_regression": "Output regression (eq. 2)",
        "margin": "Margin, without L_G",
        "gradient": "Gradients, without L_S",
    }
    found = [
        *_lines(trials, {**LONG, "No teacher": "Standard back-propagation"}),
        *(Line(row, trials[trials["case"].eq(case)]) for case, row in more.items()),
        *(Line(row, trials.iloc[:0]) for row in OTHERS),
    ]
    columns = [Column("#params", "Weights", None), Column("Misclass", "Test error, %")]
    what = "Size and test error on clean images; the last three rows are other papers' networks"
    return published_table(
        "Table VI",
        PRINTED,
        columns,
        found,
        title="errors on MNIST",
        what=what,
        source=MNIST,
        head="Network",
    )


def table_vii(snapshot: Snapshot) -> Table:
    """Table VII: students of several sizes."""
    students, teachers = (
        _trials(snapshot, "robust-sizes", role) for role in ("student", "teacher")
    )
    found = [
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
        found.append(Line(f"Student {number}", _sizes(part, teachers).assign(**by_case)))
    columns = [
        Column("#params", "Weights", None),
        Column("#mult", "Multiplications", None),
        Column("Speed-up Ratio", "Speed-up", 1),
        Column("Compression Ratio", "Compression", 1),
        Column("Accuracy", "Teacher, %"),
        Column("FitNet", "FitNet, %"),
        Column("Robust", "Robust, %"),
    ]
    what = (
        "Size, speed (images per second as a multiple of the teacher's, on the machine "
        "that trained) and test accuracy of "
        "students of four sizes, taught in two ways"
    )
    return published_table(
        "Table VII",
        PRINTED,
        columns,
        found,
        title="students of several sizes",
        what=what,
        source=CIFAR,
        head="Network",
        under=True,
    )


def networks(snapshot: Snapshot, sweep: str) -> pd.DataFrame:
    """The trained networks of ``sweep``, a row each, with the paper's name of each in
    ``network``."""
    students, teachers = (_trials(snapshot, sweep, role) for role in ("student", "teacher"))
    students["network"] = students["case"].map({**CASES, "standard": "No teacher"})
    return pd.concat([teachers.assign(network="Teacher"), students], ignore_index=True)


def _trials(snapshot: Snapshot, sweep: str, role: str) -> pd.DataFrame:
    """Completed trials of ``sweep``, whatever their data sets: this paper's sweeps have two, which
    its tables keep apart."""
    members, trials = snapshot.members, snapshot.trials
    members = members[
        members["sweep"].eq(sweep) & members["role"].eq(role) & members["outcome"].eq("completed")
    ]
    found = members[["sweep", "case", "trial_id"]].merge(
        trials.loc[trials["status"].eq("completed"), COLUMNS], on="trial_id"
    )
    return only(found, f"no trained {role}s of the sweep {sweep}: kdray run it first")


def _on(trials: pd.DataFrame, name: str, *, first: str, others: Sequence[str]) -> pd.DataFrame:
    """Of the data set ``name``; what is of none of the paper's (digits, as --smoke trains on)
    stands in for the ``first``."""
    of = trials["data.name"].eq(name)
    return trials[of | ~trials["data.name"].isin([first, *others])] if name == first else trials[of]


def _lines(trials: pd.DataFrame, names: Mapping[str, str] | None = None) -> Iterator[Line]:
    """A row for every network of the paper, by its name there."""
    for network in NETWORKS:
        role = "teacher" if network == "Teacher" else "student"
        yield Line((names or {}).get(network, network), trials[trials["network"].eq(network)], role)


def _sizes(trials: pd.DataFrame, teachers: pd.DataFrame) -> pd.DataFrame:
    speed = trials["images_per_second"] / teachers["images_per_second"].mean()
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


def _scores(rows: pd.DataFrame, titles: Sequence[str]) -> matplotlib.figure.Figure:
    """A panel of bars for every image and ratio."""
    figure, axes = panels(
        len(titles), columns=min(len(titles), 2), width=PAGE, height=1.5, share_y=True
    )
    classes = _classes(rows)
    for number, axis in enumerate(axes):
        part = rows[rows["panel"].eq(number)]
        bars(
            axis,
            part,
            "class",
            "score",
            by="network",
            order=_known(rows),
            along=range(len(classes)),
        )
        axis.set_xticks(range(len(classes)), classes)
        axis.set_ylim(0, 100)
        labelled(axis, "", "Score (%)" if number % 2 == 0 else "", titles[number])
    legend(figure)
    return figure


def _known(rows: pd.DataFrame) -> list[str]:
    return [network for network in NETWORKS if rows["network"].eq(network).any()]


def _classes(rows: pd.DataFrame) -> list[str]:
    count = int(rows["class"].max()) + 1
    return (
        list(CLASSES)
        if rows["data.name"].eq("cifar10").all()
        else [str(number) for number in range(count)]
    )


def _images(
    snapshot: Snapshot, name: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None:
    """The first images of the data set's test split and their classes, if somebody put them beside
    the results."""
    store, file = snapshot.results.store, f"images/{name}.npz"
    if not store.exists(file):
        return None
    with np.load(io.BytesIO(store.read(file)), allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    images = images[..., 0] if images.shape[-1] == 1 else images
    return images / (255 if images.dtype == np.uint8 else 1), labels


DRAWS: tuple[Draw, ...] = (
    figure_2,
    figure_3,
    table_i,
    table_ii,
    table_iii,
    table_iv,
    table_v,
    table_vi,
    table_vii,
)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
