"""The data part of a model card: what the model was trained on, and how images must come to it."""

from __future__ import annotations

from kdray.data import ImageData
from kdray.exporting.markdown import code, described
from kdray.teachers import Pretrained
from kdray.trials.experiment import AnyTrial

NORMALIZATIONS = {
    "none": "Nothing is done to the pixels.",
    "standardize": "Inside the model every channel is brought to mean 0 and standard deviation 1 "
    "of the training images.",
    "gcn": "Inside the model every image is brought to mean 0 and norm 55 (global contrast "
    "normalisation).",
    "gcn_zca": "Inside the model every image is brought to mean 0 and norm 55, then whitened "
    "(ZCA of the training images).",
}


def paragraphs(experiment: AnyTrial, counts: dict[str, int]) -> list[str]:
    """Two paragraphs: which data set it is, with ``counts`` images by split, and how its images are
    prepared."""
    data: ImageData = experiment.data
    if isinstance(experiment, Pretrained):
        data = data.model_copy(update={"normalization": "none"})
    channels, height, width = data.shape
    of_each = ", ".join(f"{count} {split}" for split, count in counts.items())
    there = (
        f"{of_each} images."
        if counts
        else "How many images each split has is not known here: the data were not there."
    )
    colour = {1: "grey", 3: "red, green, blue"}.get(channels, f"{channels} channels")
    native = "x".join(map(str, data.native_shape))
    steps = [
        f"Images are {colour}, {height} x {width} pixels; the data set's own are {native} "
        "(channels, height, width)."
    ]
    if data.channels not in (None, data.native_shape[0]):
        steps.append(
            "Colour is made grey by ITU-R 601 luma."
            if channels == 1
            else "A grey channel is repeated three times."
        )
    if data.resize is not None:
        steps.append(
            f"They are scaled to {data.resize} pixels a side, bilinear with antialiasing, "
            "and rounded to 8 bits."
        )
    if data.pad:
        steps.append(f"Then {data.pad} pixels of zero are added on every side.")
    if data.omit_classes:
        omitted = ", ".join(map(str, data.omit_classes))
        steps.append(f"Classes {omitted} were left out of training; validation and test have them.")
    if data.train_examples is not None or data.train_per_class is not None:
        steps.append("A part of the training images was trained on, chosen by class.")
    normalization = (
        "Its first layer normalises as where it was trained."
        if isinstance(experiment, Pretrained)
        else NORMALIZATIONS[data.normalization]
    )
    steps.append(f"Yours must come the same way, as numbers in [0, 1]. {normalization}")
    return [f"{code(described(data))}: {there}", " ".join(steps)]
