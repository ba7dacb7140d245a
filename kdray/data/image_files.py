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
from jaxtyping import UInt8
from PIL import Image, ImageOps  # comes with torchvision
from torch import Tensor

from kdray.core import InputError

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


def decoded_files(
    paths: Sequence[Path], shape: tuple[int, int, int], pixels: Callable[[Image.Image], Image.Image]
) -> UInt8[Tensor, "N C H W"]:
    """The images in the files, each as ``pixels`` makes it; :class:`InputError` names those that
    cannot be decoded."""
    images = torch.empty(len(paths), *shape, dtype=torch.uint8)
    problems: dict[int, str] = {}

    def decode(index: int) -> None:
        try:
            images[index] = opened(paths[index], pixels)
        except ValueError as error:
            problems[index] = f"{paths[index]}: {error}"

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow lets go of the lock
        for _ in pool.map(decode, range(len(paths))):
            pass
    if problems:
        raise InputError(told([problems[index] for index in sorted(problems)]))
    return images


def decoded_parts(
    parts: dict[str, list[Path]],
    shape: tuple[int, int, int],
    pixels: Callable[[Image.Image], Image.Image],
) -> dict[str, UInt8[Tensor, "_ C H W"]]:
    """:func:`decoded_files` of each part, but for what cannot be decoded, which is told of all."""
    images = decoded_files([path for paths in parts.values() for path in paths], shape, pixels)
    sizes = [len(paths) for paths in parts.values()]
    return dict(zip(parts, images.split(sizes), strict=True))


def told(problems: Sequence[str]) -> str:
    """All problems in one line: the first few, and how many there are."""
    text = "; ".join(problems[:MAX_NAMED])
    more = len(problems) - MAX_NAMED
    return f"{text}; and {more} more" if more > 0 else text
