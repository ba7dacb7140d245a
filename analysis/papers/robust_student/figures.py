"""Figure 2, accuracy against the signal-to-noise ratio, and figure 3, scores of single images.

Figure 3 shows the images that it is about where RESULTS/images/DATASET.npz holds them, which Python
writes (an experiment is what the column of that name holds; first: mkdir RESULTS/images):

    test = kdray.Experiment.parse(json.loads(experiment)).data.test_split(data_folder)
    numpy.savez(file, images=test.images[:5].movedim(1, -1).numpy(), labels=test.labels[:5].numpy())
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd

from kdray.core import InputError
from kdray.report import (
    PAGE,
    Drawing,
    Figure,
    Snapshot,
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
)
from kdray.report.papers.published_table import printed
from papers.robust_student.networks import (
    CLASSES,
    NETWORKS,
    PAPER,
    PRINTED,
    SUITE,
    trained_networks,
)


def figure_2(snapshot: Snapshot) -> Figure:
    """Figure 2: accuracy against the signal-to-noise ratio."""
    sweeps = [name for name in ("robust-mnist", "robust-cifar") if name in snapshot.sweeps]
    if not sweeps:
        raise InputError(
            "no trained students of the sweeps robust-mnist and robust-cifar: kdray run them first"
        )
    trials = pd.concat([trained_networks(snapshot, sweep) for sweep in sweeps], ignore_index=True)
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
    captioned = caption(what, rows, ["sweep", "data.name", "network"], source=f"{PAPER}, figure 2")
    return Figure(
        "figure_2", "Figure 2: accuracy against the signal-to-noise ratio", captioned, figure
    )


def figure_3(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figure 3: prediction scores of single images."""
    trials = trained_networks(snapshot, "robust-cifar")
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
        stored = _images(snapshot, str(name))
        pictures = stored if stored is not None and rows["image"].max() < len(stored[0]) else None
        what = (
            "Softmax scores of test images, numbered by their position in the test set, by "
            "class and network, mean over the "
            "seeds, on clean images and under Gaussian noise of the ratio given"
        )
        if pictures is None:
            figure = _scores(rows, titles)
            what += f"; the images are not in the results (they would be in images/{name}.npz)"
        else:
            at_hand, classes = pictures
            numbers = [image for image, _ in shown]
            scores = rows.drop(columns="image").rename(columns={"panel": "image"})
            figure = images_with_scores(
                at_hand[numbers],
                scores,
                titles,
                by="network",
                classes=_classes(rows),
                order=_networks_of(rows),
                truth=classes[numbers].tolist(),
                width=PAGE,
            )
            what += "; beside them the images without noise, the true class shaded"
        band = "Error bars" if pictures is None else ""
        captioned = caption(what, rows, ["network"], source=f"{PAPER}, figure 3", band=band)
        yield Figure(
            f"figure_3_{name}",
            f"Figure 3: prediction scores, {data_name(str(name))}",
            captioned,
            figure,
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
