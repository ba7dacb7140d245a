"""Data sets of Hugging Face's library, from a folder; skipped where the library is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kdray.core import InputError, parse
from kdray.data import HuggingFace

library = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="datasets is not installed"
)


def own(**fields: Any) -> HuggingFace:
    return parse(
        HuggingFace, {"name": "huggingface", "path": "own", "classes": 3, "size": 8, **fields}
    )


def saved(root: Path, image: str = "image", label: str = "label") -> None:
    """A folder of ``save_to_disk``: each image filled with its label."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features
    from datasets import Image as ImageColumn

    features = Features({image: ImageColumn(), label: ClassLabel(names=["a", "b", "c"])})
    splits = {}
    for part, count in (("train", 15), ("validation", 6), ("test", 6)):
        labels = [number % 3 for number in range(count)]
        images = [Image.fromarray(np.full((9, 12), 40 * n, np.uint8)) for n in labels]
        splits[part] = Dataset.from_dict({image: images, label: labels}, features=features)
    DatasetDict(splits).save_to_disk(str(root / "own"))


@library
def test_a_saved_folder_is_read(tmp_path: Path) -> None:
    saved(tmp_path, "img", "fine_label")
    data = own(image_column="img", label_column="fine_label", val_part="validation")
    data.check(tmp_path)
    train, val, test = data.read(tmp_path)
    assert [len(split.labels) for split in (train, val, test)] == [15, 6, 6]
    assert test.images[:, 1, 4, 4].tolist() == [0, 40, 80, 0, 40, 80]
    assert test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert [len(each) for each in own(
        image_column="img", label_column="fine_label"
    ).split_labels(tmp_path)] == [12, 3, 6]  # fmt: skip


@library
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image_column": "img"}, "there is no column 'img' (there: image, label; image_column "),
        ({"label_column": "y"}, "there is no column 'y' (there: image, label; label_column "),
        ({"test_part": "dev"}, "there is no split 'dev' (there: train, validation, test)"),
        ({"classes": 2}, "train: label[2]: is 2 (allowed: 0 to 1, of 2 classes)"),
        ({"label_column": "image"}, "has no whole numbers"),
        ({"val_part": "validation", "validation": 3}, "leave validation out"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    saved(tmp_path)
    with pytest.raises(InputError) as raised:
        own(**fields).check(tmp_path)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_nowhere_is_told_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        own(path="ylecun/mnist", config="plain").check(tmp_path)
    assert "ylecun/mnist is missing; it must be a folder that datasets' save_to_disk" in str(
        raised.value
    )
    assert str(raised.value).endswith(
        "python -c \"import datasets; datasets.load_dataset('ylecun/mnist', 'plain')\" fetches "
        "one of the Hub"
    )


@pytest.mark.skipif(
    importlib.util.find_spec("datasets") is not None, reason="datasets is installed"
)
def test_without_the_library_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match=r"not installed: pip install 'kdray\[datasets\]'$"):
        own().check(tmp_path)
