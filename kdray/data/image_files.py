"""Image files as tensors: decoded as a viewer shows them, all that cannot be decoded told at
once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps  # comes with torchvision
from torch import Tensor

from kdray.core import InputError
from kdray.core.names import composed
from kdray.data.splits import check_room

SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Of images, in small letters."""
CLUTTER = ("thumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What file managers and archives leave in folders, in small letters, beside what begins with a
dot."""
MAX_NAMED = 5
"""Files that cannot be decoded, of which a message has the names."""


def is_clutter(path: Path) -> bool:
    """Whether ``path`` is hidden or was left by a file manager."""
    return path.name.startswith(".") or path.name.lower() in CLUTTER


def upright_rgb(image: Image.Image) -> Image.Image:
    """``image`` in 8-bit colour, turned as its EXIF orientation says; a transparent pixel keeps its
    colour."""
    shown = ImageOps.exif_transpose(image)
    if shown.mode.startswith("I;16") or (shown.mode == "I" and image.format == "PNG"):
        high = np.asarray(shown).astype(np.uint16) >> 8  # as Pillow itself reads 16-bit colour
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if shown.mode in ("I", "F"):
        raise InputError(f"has numbers without a range (Pillow's mode {shown.mode}); convert it")
    return (shown.convert("RGBA") if "transparency" in shown.info else shown).convert("RGB")


def fitted_square(image: Image.Image, size: int) -> Image.Image:
    """The centre of ``image`` (colour), its shorter side scaled to ``size`` (bilinear,
    antialiased)."""
    return ImageOps.fit(upright_rgb(image), (size, size), Image.Resampling.BILINEAR)


def opened(source: Any, pixels: Callable[[Image.Image], Image.Image]) -> UInt8[Tensor, "C H W"]:
    """What ``pixels`` makes of the image in ``source`` (a path or an open file); ValueError says
    why it cannot be decoded."""
    try:
        with Image.open(source) as image:
            made = np.array(pixels(image))
    except InputError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # every one of Pillow's readers has its own
        raise ValueError(f"cannot be read as an image ({' '.join(str(error).split())})") from None
    return torch.from_numpy(made).reshape(*made.shape[:2], -1).permute(2, 0, 1)


def decoded(
    count: int,
    source: Callable[[int], Any],
    name: Callable[[int], str],
    shape: tuple[int, int, int],
    pixels: Callable[[Image.Image], Image.Image],
) -> UInt8[Tensor, "N C H W"]:
    """``count`` images, each as ``pixels`` makes it of its ``source``; :class:`InputError` names
    those that cannot be decoded."""
    check_room(count, shape)
    images = torch.empty(count, *shape, dtype=torch.uint8)
    problems: dict[int, str] = {}

    def decode(index: int) -> None:
        try:
            images[index] = opened(source(index), pixels)
        except ValueError as error:
            problems[index] = f"{name(index)}: {error}"

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow lets go of the lock
        for _ in pool.map(decode, range(count)):
            pass
    if problems:
        raise InputError(told([problems[index] for index in sorted(problems)]))
    return images


def decoded_parts(
    parts: dict[str, list[Path]],
    shape: tuple[int, int, int],
    pixels: Callable[[Image.Image], Image.Image],
) -> dict[str, UInt8[Tensor, "_ C H W"]]:
    """The images in the files of each part, :func:`decoded` together."""
    paths = [path for part in parts.values() for path in part]
    images = decoded(len(paths), paths.__getitem__, lambda at: str(paths[at]), shape, pixels)
    sizes = [len(paths) for paths in parts.values()]
    return dict(zip(parts, images.split(sizes), strict=True))


def told(problems: Sequence[str]) -> str:
    """All problems in one line: the first few, and how many there are."""
    text = "; ".join(problems[:MAX_NAMED])
    more = len(problems) - MAX_NAMED
    return f"{text}; and {more} more" if more > 0 else text


Files = list[tuple[Path, int]]
"""Every image of a part with its label, in the order of class and name."""


def image_labels(files: Files) -> Int64[Tensor, "N"]:
    return torch.tensor([label for _, label in files], dtype=torch.int64)


def class_folders(place: Path) -> dict[str, Path]:
    """The folders at ``place`` by the names of their classes; InputError if anything else is
    there."""
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if is_clutter(path):
            continue
        if not path.is_dir():
            raise InputError(f"{path}: is no folder; needs one folder for each class")
        name = composed(path.name)
        if name in found:
            raise InputError(
                f"{place}: has two folders {name!r}, one with its accents as characters of their "
                "own; put them into one"
            )
        found[name] = path
    return found


def listed_images(place: Path, numbers: dict[str, int], *, every: bool, below: str = ".") -> Files:
    """The images at ``place``, in each class's folder or in the one ``below`` it, and whether
    ``every`` class must have one."""
    files: Files = []
    for name, of_class in sorted(class_folders(place).items()):
        if name not in numbers:
            raise InputError(
                f"{place / name}: is no class of train (there: {', '.join(list(numbers)[:20])})"
            )
        before, folder = len(files), of_class / below
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if is_clutter(path):
                continue
            if not path.is_file() or path.suffix.lower() not in SUFFIXES:
                raise InputError(f"{path}: is no image (allowed: {', '.join(SUFFIXES)})")
            files.append((path, numbers[name]))
        if every and len(files) == before:
            raise InputError(f"{folder}: holds no image; every class needs one")
    if not files:
        raise InputError(f"{place}: holds no image")
    return files
