"""Data sets of the Hugging Face Hub, from the local cache or a folder that ``save_to_disk`` has
written; nothing is downloaded.

Images are read as an image folder's: as a viewer shows them, in colour, the shorter side scaled to
``size``, the centre cut out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64
from PIL import Image  # comes with torchvision
from pydantic import Field
from torch import Tensor

from kdray.core import InputError
from kdray.data.base import Shape
from kdray.data.image_files import decoded, fitted_square
from kdray.data.own import OwnData
from kdray.data.splits import Split

Name = Annotated[str, Field(min_length=1)]


class HuggingFace(OwnData):
    """A data set of Hugging Face's library ``datasets``: columns of images and labels."""

    needed: ClassVar[str] = (
        "a folder that datasets' save_to_disk has written, or the Hub's name of a data set that is "
        "in the local cache"
    )

    name: Literal["huggingface"] = "huggingface"
    config: Name | None = None
    """The Hub's configuration of the data set, where it has several."""
    size: Annotated[int, Field(ge=4, le=1024)]
    """Side in pixels that images are scaled to as they are read; read as colour, ``channels: 1``
    makes them grey."""
    image_column: Name = "image"
    """Image files, or nested lists of whole numbers from 0 to 255."""
    label_column: Name = "label"
    """Whole numbers from 0."""
    train_part: Name = "train"
    """The split that is trained on."""
    val_part: Name | None = None
    """The split of its own that validates; none: a part of the training images, see
    ``validation``."""
    test_part: Name = "test"
    """The split that is tested on."""

    @property
    def native_shape(self) -> Shape:
        return 3, self.size, self.size

    def place(self, root: Path) -> Path:
        """The folder, or that of the cache where there is none."""
        folder = super().place(root)
        if folder.is_dir():
            return folder
        home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
        cache = Path(os.environ.get("HF_DATASETS_CACHE") or f"{home}/datasets").expanduser()
        cached = cache / self.path.replace("/", "___")
        return cached if cached.is_dir() else folder

    def lacks(self, root: Path) -> InputError:
        config = "" if self.config is None else f", {self.config!r}"
        command = f"import datasets; datasets.load_dataset({self.path!r}{config})"
        return InputError(f'{super().lacks(root)}; python -c "{command}" fetches one of the Hub')

    def check(self, root: Path) -> None:
        """Everything but the images."""
        labels = self._labels(self._opened(root), root)
        if "val" not in labels:
            self.held_out(labels["train"], root)

    def prepare(self, root: Path) -> None:
        self.keep_copy(root)

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        tables = self._opened(root)
        labels = self._labels(tables, root)
        parts = {
            part: Split(self._images(table, self._where(part, root)), labels[part])
            for part, table in tables.items()
        }
        return self.splits(parts, root)

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        return self.label_splits(self._labels(self._opened(root), root), root)

    def _where(self, part: str, root: Path) -> str:
        return f"{self.place(root)}: {self._names()[part]}"

    def _names(self) -> dict[str, str]:
        """The splits by what they are here."""
        val = {} if self.val_part is None else {"val": self.val_part}
        return {"train": self.train_part, **val, "test": self.test_part}

    def _opened(self, root: Path) -> dict[str, Any]:
        """The tables of the splits, which stay on disk."""
        place = self.place(root)
        if not place.is_dir():
            raise self.lacks(root)
        if self.val_part is not None and self.validation is not None:
            raise InputError("validation: there is a val_part; leave validation out")
        library = _library()
        try:
            if super().place(root).is_dir():
                held = library.load_from_disk(str(place))
            else:
                held = library.load_dataset(self.path, self.config)
        except Exception as error:  # the library has many kinds
            raise InputError(f"{place}: cannot be read ({' '.join(str(error).split())})") from None
        there = list(held) if isinstance(held, dict) else []
        for split in self._names().values():
            if split not in there:
                listed = ", ".join(there) or "one table"
                raise InputError(f"{place}: there is no split {split!r} (there: {listed})")
        return {part: held[split] for part, split in self._names().items()}

    def _labels(self, tables: dict[str, Any], root: Path) -> dict[str, Int64[Tensor, "N"]]:
        """The labels of each part, after all that can be told without the images."""
        labels = {}
        for part, table in tables.items():
            where = self._where(part, root)
            for field in ("image_column", "label_column"):
                column = getattr(self, field)
                if column not in table.column_names:
                    listed = ", ".join(table.column_names)
                    raise InputError(
                        f"{where}: there is no column {column!r} (there: {listed}; {field} names "
                        "it)"
                    )
            if not len(table):
                raise InputError(f"{where}: holds no image")
            numbers = np.asarray(table.with_format("arrow")[self.label_column])
            if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
                raise InputError(f"{where}: {self.label_column} has no whole numbers")
            wrong = (numbers < 0) | (numbers >= self.classes)
            if wrong.any():
                raise InputError(
                    f"{where}: {self.label_column}[{int(wrong.argmax())}]: is {numbers[wrong][0]} "
                    f"(allowed: 0 to {self.classes - 1}, of {self.classes} classes)"
                )
            labels[part] = torch.from_numpy(numbers.astype(np.int64))
        return labels

    def _images(self, table: Any, where: str) -> Tensor:
        column, library = self.image_column, _library()
        if isinstance(table.features[column], library.Image):
            table = table.cast_column(column, library.Image(decode=False))
        cells: Sequence[Any] = table[column]
        return decoded(
            len(table),
            lambda index: _source(cells[index]),
            lambda index: f"{where}[{index}]",
            self.native_shape,
            partial(fitted_square, size=self.size),
        )


def _source(cell: Any) -> Any:
    """What an image is opened from: its file's bytes, its file, or its pixels."""
    if isinstance(cell, dict):
        content = cell.get("bytes")
        return cell.get("path") if content is None else BytesIO(content)
    content = BytesIO()
    Image.fromarray(np.array(cell, dtype=np.uint8).squeeze()).save(content, "PNG")
    return content


def _library() -> Any:
    """The library, which is told to stay off the network."""
    if find_spec("datasets") is None:
        raise InputError(
            "huggingface needs datasets, which is not installed: pip install 'kdray[datasets]'"
        )
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    library = import_module("datasets")
    library.disable_progress_bars()
    return library
