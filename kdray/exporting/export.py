"""Exporting a trial: the model file is written, read back and compared, the card is written beside
it, then both appear."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from kdray.core import InputError
from kdray.data import Dataset, ImageData, Split, data_root, to_unit
from kdray.exporting.agreement import largest_difference, random_images, require_agreement
from kdray.exporting.card import CardFacts, Share, card
from kdray.exporting.formats import FORMATS, FormatName, require_packages
from kdray.exporting.loading import find, model_of
from kdray.exporting.trained import NoiseMode, TrainedModel, draws
from kdray.results import Results, open_results

CARD_FILE = "README.md"
REAL = 64
"""Test images that the file is compared on."""
BLOCK = 500
"""Images that accuracy is counted on at once."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    model: Path
    card: Path
    differences: dict[str, float]
    """By the images that were asked: the largest difference of logits, see
    :func:`agreement.largest_difference`."""
    quiet: dict[str, Share]
    """Of a model whose noise was taken away, by split: what it gets right, if the data were there.
    The results do not know."""


def export(
    results: str | os.PathLike[str] | Results,
    trial_id: str,
    format: FormatName = "safetensors",
    *,
    out: str | os.PathLike[str] | None = None,
    noise: NoiseMode = "active",
    data: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Exported:
    """Write the model of a trial and its model card into the folder ``out`` (``TRIAL_ID-FORMAT``
    here, if none is given).

    The folder appears complete or not at all; one that is there is replaced only with ``force``,
    and only if it holds nothing but an earlier export. :class:`Disagreement`, and no folder, if the
    file does not answer as the model.
    """
    require_packages(format)
    opened = results if isinstance(results, Results) else open_results(results)
    trial = find(opened, trial_id)
    if format == "onnx" and noise == "active" and draws(trial.experiment):
        raise InputError(
            f"trial {trial.trial_id} draws noise at every pass, so that no ONNX file can be "
            "checked to give its logits; "
            "export it with --noise off (every weight at its mean, nothing added to the "
            "image), or as torch-export"
        )
    folder = Path(out or f"{trial.trial_id}-{format}").expanduser().absolute()
    _require_free(folder, force)
    root = data_root(data)
    model = model_of(opened.store, trial.experiment, noise, root)
    dataset = _dataset(trial.experiment.data, root)
    kind = FORMATS[format]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as elsewhere:
        unfinished = Path(elsewhere) / folder.name
        unfinished.mkdir()
        kind.write(model, unfinished / kind.file)
        differences = _differences(model, unfinished / kind.file, format, dataset)
        require_agreement(differences)
        quiet = _quiet(model, dataset)
        facts = CardFacts(
            trial=trial,
            format=format,
            noise=model.noise,
            draws=model.draws,
            differences=differences,
            bytes=(unfinished / kind.file).stat().st_size,
            counts=_counts(dataset),
            quiet=quiet,
        )
        (unfinished / CARD_FILE).write_text(card(facts, opened), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(elsewhere) / "replaced")
        unfinished.rename(folder)
    return Exported(folder, folder / kind.file, folder / CARD_FILE, differences, quiet)


def _require_free(folder: Path, force: bool) -> None:
    """Nothing but an export is ever replaced."""
    if not folder.exists():
        return
    if not force:
        raise InputError(f"--out {folder}: is there already; --force replaces it")
    ours = {CARD_FILE, *(kind.file for kind in FORMATS.values())}
    if not folder.is_dir() or (others := {each.name for each in folder.iterdir()} - ours):
        what = f"also holds {min(others)}" if folder.is_dir() else "is no folder"
        raise InputError(
            f"--out {folder}: {what}; --force replaces only a folder with nothing but an export"
        )


def _dataset(data: ImageData, root: Path) -> Dataset | None:
    """The trial's images, if they are there."""
    try:
        return data.load(root)
    except (InputError, OSError):
        return None


def _differences(
    model: TrainedModel, file: Path, format: FormatName, dataset: Dataset | None
) -> dict[str, float]:
    """Of the file's answers from the model's."""
    answer = FORMATS[format].read(file)
    drawn = random_images(model.experiment.data.shape)
    asked = {f"{len(drawn)} random images": drawn}
    if dataset is not None:
        real = to_unit(dataset.test.first(REAL).images)
        asked[f"{len(real)} test images"] = real
    return {name: largest_difference(model, answer, images) for name, images in asked.items()}


def _counts(dataset: Dataset | None) -> dict[str, int]:
    """Images by split."""
    if dataset is None:
        return {}
    return {
        "train": len(dataset.train.labels),
        "val": len(dataset.val.labels),
        "test": len(dataset.test.labels),
    }


def _quiet(model: TrainedModel, dataset: Dataset | None) -> dict[str, Share]:
    """What a model whose noise was taken away gets right, by split."""
    if dataset is None or model.draws or not draws(model.experiment):
        return {}
    return {
        split: _right(model, images)
        for split, images in (("val", dataset.val), ("test", dataset.test))
    }


@torch.no_grad()
def _right(model: TrainedModel, split: Split) -> Share:
    pairs = zip(split.images.split(BLOCK), split.labels.split(BLOCK), strict=True)
    right = sum(int((model(to_unit(images)).argmax(1) == labels).sum()) for images, labels in pairs)
    return Share(right, len(split.labels))
