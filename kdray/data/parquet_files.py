"""Images and labels in the columns of Parquet files, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageOps  # comes with torchvision
from torch import Tensor

from kdray.core import InputError
from kdray.data.array_files import ArrayFiles, Header
from kdray.data.base import Shape
from kdray.data.image_files import decoded, upright_rgb


class ParquetFolder(ArrayFiles):
    """A folder with ``train*.parquet`` and ``test*.parquet`` files, each with a column of images
    and one of labels.

    An image is encoded (bytes, or a struct of ``bytes`` and ``path``, as Hugging Face writes it),
    then as large as ``shape`` says, scaled and cut to it if it is not; or nested lists of uint8.
    """

    def __init__(self, place: Path, columns: Mapping[str, str], shape: Shape) -> None:
        self._place, self._columns, self._shape = place, columns, shape

    def has(self, part: str) -> bool:
        return bool(self._paths(part))

    def name(self, part: str, what: str) -> str:
        if not self.has(part):
            listed = ", ".join(sorted(path.name for path in self._place.glob("*.parquet")))
            raise InputError(f"{self._place}: {part}*.parquet is missing (there: {listed})")
        column = self._columns[what]
        for path in self._paths(part):
            there = pq.read_schema(path).names
            if column not in there:
                raise InputError(
                    f"{path}: there is no column {column!r} (there: {', '.join(there)}; "
                    f"{what[:-1]}_column names it)"
                )
        return f"{part}*.parquet: {column}"

    def header(self, part: str, what: str) -> Header:
        paths, column = self._paths(part), self._columns[what]
        count = sum(pq.read_metadata(path).num_rows for path in paths)
        kind = pq.read_schema(paths[0]).field(column).type
        if what == "labels":
            return Header((count,), _numpy_type(kind))
        channels, height, width = self._shape
        if _is_encoded(kind):
            return Header((count, height, width, channels), np.dtype(np.uint8))
        return Header((count, *self._first_shape(paths[0], column, kind)), _numpy_type(kind))

    def labels(self, part: str) -> Any:
        return self._column(part, "labels").to_numpy()

    def images(self, part: str) -> Tensor:
        column = self._column(part, "images")
        if not _is_encoded(column.type):
            return _nested(column)
        cells = column.to_pylist()
        contents = [cell.get("bytes") if isinstance(cell, dict) else cell for cell in cells]
        images = decoded(
            len(cells),
            lambda index: BytesIO(contents[index] or b""),
            lambda index: f"{self._place}: image {index} of {part}",
            self._shape,
            partial(_of_shape, shape=self._shape),
        )
        return images.permute(0, 2, 3, 1)

    def _paths(self, part: str) -> list[Path]:
        return sorted(self._place.glob(f"{part}*.parquet"))

    def _column(self, part: str, what: str) -> Any:
        name = self._columns[what]
        tables = [pq.read_table(path, columns=[name]) for path in self._paths(part)]
        return pa.concat_tables(tables).column(name).combine_chunks()

    def _first_shape(self, path: Path, column: str, kind: Any) -> tuple[int, ...]:
        """The shape of the first image in lists of lists."""
        first = next(pq.ParquetFile(path).iter_batches(batch_size=1, columns=[column]), None)
        if first is None or not _is_listed(kind):
            return ()
        return tuple(np.array(first.column(0).to_pylist()[0]).shape)


def _is_encoded(kind: Any) -> bool:
    """Whether a column of this type holds files of images."""
    if pa.types.is_struct(kind):
        return any(kind.field(index).name == "bytes" for index in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_listed(kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _numpy_type(kind: Any) -> np.dtype[Any]:
    """The type of the numbers in a column, in lists or not; objects where there are none."""
    while _is_listed(kind):
        kind = kind.value_type
    try:
        found: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except NotImplementedError:
        return np.dtype(object)
    return found


def _nested(column: Any) -> Tensor:
    """Nested lists, all of the same lengths, as one tensor."""
    sides = []
    while _is_listed(column.type):
        lengths = pc.list_value_length(column).unique().to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise ValueError("images of different sizes, or none, in a column of lists")
        sides.append(lengths[0])
        column = column.flatten()
    return torch.from_numpy(np.array(column.to_numpy(zero_copy_only=False))).reshape(-1, *sides)


def _of_shape(image: Image.Image, shape: Shape) -> Image.Image:
    """``image`` in as many channels, scaled and cut where it has another size."""
    channels, height, width = shape
    colour = upright_rgb(image)
    if colour.size != (width, height):
        colour = ImageOps.fit(colour, (width, height), Image.Resampling.BILINEAR)
    return colour.convert("L") if channels == 1 else colour
