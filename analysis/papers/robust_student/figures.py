"""Figure 2, accuracy against the signal-to-noise ratio, and figure 3, scores of single images.

Figure 3 shows the images that it is about where RESULTS/images/DATASET.npz holds them (the caption
says what it is called: cifar10, cifar10_pad_1, …), which Python writes (an experiment is what the
column of that name holds; first: mkdir RESULTS/images):

    test = kdray.Experiment.parse(json.loads(experiment)).data.test_split(data_folder)
    numpy.savez(file, images=test.images[:5].movedim(1, -1).numpy(), labels=test.labels[:5].numpy())
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd

from kdray.core import InputError
from kdray.core.wording import counted
from kdray.report import (
    PAGE,
    Drawing,
    Figure,
    Missing,
    Snapshot,
    a_line_for_each_point,
    bars,
    by_data_set,
    caption,
    data_name,
    images_with_scores,
    labelled,
    legend,
    lines,
    marks,
    of_one_evaluation,
    of_one_point,
    of_one_setting,
    only,
    panels,
)
from kdray.report.papers.published_table import printed
from kdray.report.settings import parameters
from papers.robust_student.networks import (
    CLASSES,
    IN_DECIBELS,
    NETWORKS,
    PAPER,
    PRINTED,
    SUITE,
    trained_networks,
)

GAUSSIAN = "signal_to_noise"


def figure_2(snapshot: Snapshot) -> Figure:
    """Figure 2: accuracy against the signal-to-noise ratio."""
    sweeps = [name for name in ("robust-mnist", "robust-cifar") if name in snapshot.sweeps]
    if not sweeps:
        raise InputError(
            "no trained students of the sweeps robust-mnist and robust-cifar: kdray run them first"
        )
    trials = pd.concat([trained_networks(snapshot, sweep) for sweep in sweeps], ignore_index=True)
    drawn = [
        (sweep, name, rows)
        for sweep in sweeps
        for name, _, part in by_data_set(trials[trials["sweep"].eq(sweep)])
        if len(rows := _by_ratio(snapshot, part))
    ]
    rows = only(
        pd.concat([part for _, _, part in drawn] or [trials.head(0)], ignore_index=True),
        f"no accuracy under Gaussian noise: {SUITE}",
    )
    names = dict(zip(NETWORKS, NETWORKS, strict=True))
    shown = []
    figure, axes = panels(len(drawn))
    for axis, (sweep, name, part) in zip(axes, drawn, strict=True):
        apart, called = a_line_for_each_point(part, "network", names, ["snr"])
        lines(axis, apart, "snr", "value", by="network", order=list(called), names=called)
        kind, bracket, fields = name.partition(" (")
        shown.append(apart)
        title = f"{data_name(kind).split(' (')[0]}{bracket}{fields}, {sweep}"
        labelled(axis, "Signal-to-noise ratio (dB)", "", title)
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
    captioned = caption(
        what, pd.concat(shown), ["sweep", "data set", "network"], source=f"{PAPER}, figure 2"
    )
    return Figure(
        "figure_2", "Figure 2: accuracy against the signal-to-noise ratio", captioned, figure
    )


def _by_ratio(snapshot: Snapshot, trials: pd.DataFrame) -> pd.DataFrame:
    """Accuracies by signal-to-noise ratio in decibels, of one evaluation."""
    measured = snapshot.measured(trials, evaluation="signal_to_noise")
    return of_one_evaluation(measured, ["snr"], at=IN_DECIBELS)


def figure_3(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figure 3: prediction scores of single images."""
    trials = trained_networks(snapshot, "robust-cifar")
    found = [
        (name, file, rows.astype({"class": int, "image": int}))
        for name, file, part in by_data_set(trials)
        if len(rows := _scores_of(snapshot, part))
    ]
    if not found:
        raise InputError(f"no prediction scores: {SUITE}")
    for name, file, rows in found:
        figure, title = f"figure_3_{file}", f"Figure 3: prediction scores, {data_name(name)}"
        try:
            pictures = _pictures(snapshot, f"images/{file}.npz", rows)
            drawn, what = _with_panels(rows, pictures)
        except InputError as error:
            yield Missing(figure, title, str(error))
            continue
        if pictures is None:
            what += f"; the images are not in the results (they would be in images/{file}.npz)"
        band = "Error bars" if pictures is None else ""
        captioned = caption(what, rows, ["network"], source=f"{PAPER}, figure 3", band=band)
        yield Figure(figure, title, captioned, drawn)


def _with_panels(
    rows: pd.DataFrame, pictures: Pictures | None
) -> tuple[matplotlib.figure.Figure, str]:
    """The scores of each image and ratio, and what the caption begins with."""
    # A clean image has no noise: its ratio is infinite, which comes first.
    at = list(zip(rows["image"], -rows["snr"].fillna(np.inf), strict=True))
    shown = sorted(set(at))
    rows = rows.assign(score=rows["value"], panel=[shown.index(place) for place in at])
    titles = [
        f"Image {image}, {'clean' if np.isinf(snr) else f'{-snr:g} dB'}" for image, snr in shown
    ]
    of_one_point(rows, ["network", "panel", "class"], "Figure 3")
    what = (
        "Softmax scores of test images, numbered by their position in the test set, by "
        "class and network, mean over the "
        "seeds, on clean images and under Gaussian noise of the ratio given"
    )
    if pictures is None:
        return _scores(rows, titles), what
    numbers = [image for image, _ in shown]
    figure = images_with_scores(
        pictures.images[numbers],
        rows.drop(columns="image").rename(columns={"panel": "image"}),
        titles,
        by="network",
        classes=_classes(rows),
        order=_networks_of(rows),
        truth=pictures.classes[numbers].tolist(),
        width=PAGE,
    )
    what += f"; beside them the images without noise, the true class shaded{pictures.remark}"
    return figure, what


def _scores_of(snapshot: Snapshot, trials: pd.DataFrame) -> pd.DataFrame:
    """Prediction scores on clean images and under Gaussian noise in decibels, all in one setting;
    ``true_class`` is that of the image, where it was stored."""
    rows = snapshot.measured(trials, evaluation="prediction_scores", metric="score")
    given = rows["evaluation_parameters"].map(parameters)
    under = given.map(lambda each: {"name": GAUSSIAN, **each["under"]} if each.get("under") else {})
    in_decibels = under.map(lambda each: each.get("name") == GAUSSIAN and "unit" not in each)
    is_shown = in_decibels.astype(bool) & rows["snr"].notna() | under.map(len).eq(0)
    rows = rows.assign(under=_without(under, "ratios"))
    # What is drawn along, images and noise, is no setting of what the panels share.
    shared = rows.assign(evaluation_parameters=_without(given, "images", "under"))[is_shown]
    chosen = of_one_setting(shared, ["snr"])
    noisy = chosen["snr"].notna()
    noises = chosen.assign(evaluation_parameters=chosen["under"])[noisy]
    parts = [of_one_evaluation(part, ["snr"]) for part in (chosen[~noisy], noises)]
    # An image is of one class, whatever the evaluation.
    true = snapshot.measured(trials, evaluation="prediction_scores", metric="true_class")
    classes = true.groupby("image")["value"].first()
    scores = pd.concat(parts, ignore_index=True)
    return scores.assign(true_class=scores["image"].map(classes))


def _without(given: pd.Series[Any], *names: str) -> pd.Series[Any]:
    """Parameters of evaluations without those called ``names``, as JSON."""
    kept = given.map(lambda each: {name: each[name] for name in each if name not in names})
    return kept.map(lambda each: json.dumps(each, sort_keys=True)).astype(object)


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
            order=_networks_of(rows),
            along=range(len(classes)),
        )
        axis.set_xticks(range(len(classes)), classes)
        axis.set_ylim(0, 100)
        labelled(axis, "", "Score (%)" if number % 2 == 0 else "", titles[number])
    legend(figure)
    return figure


def _networks_of(rows: pd.DataFrame) -> list[str]:
    return [network for network in NETWORKS if rows["network"].eq(network).any()]


def _classes(rows: pd.DataFrame) -> list[str]:
    count = int(rows["class"].max()) + 1
    return (
        list(CLASSES)
        if rows["data.name"].eq("cifar10").all()
        else [str(number) for number in range(count)]
    )


class Pictures(NamedTuple):
    """The first images of a data set's test split."""

    images: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    remark: str
    """What a caption says of where they are from, if it is not sure."""


def _pictures(snapshot: Snapshot, file: str, rows: pd.DataFrame) -> Pictures | None:
    """The images and their classes, if somebody put them beside the results; InputError if they are
    not those that the scores in ``rows`` are of."""
    store = snapshot.results.store
    if not store.exists(file):
        return None
    with np.load(io.BytesIO(store.read(file)), allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    if (last := rows["image"].max()) >= min(len(images), len(labels)):
        raise InputError(f"{file} has {counted(len(images), 'image')}, and none {last}")
    known = rows.dropna(subset=["true_class"])
    for image, number in zip(known["image"], known["true_class"], strict=True):
        if labels[image] != number:
            raise InputError(
                f"{file} is not of the images that the scores are of: image {image} is of class "
                f"{labels[image]} there, and of class {number:g} where it was measured"
            )
    remark = f", taken from {file} as they are: their classes were not stored with the scores"
    images = images[..., 0] if images.shape[-1] == 1 else images
    scaled = images / (255 if images.dtype == np.uint8 else 1)
    return Pictures(scaled, labels, "" if len(known) == len(rows) else remark)
