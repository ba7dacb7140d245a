"""The code that makes what is shared: what it was made by, and what for, decides whether it is
believed."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch


@cache
def code(*folders: Path) -> str:
    """The Python files in ``folders``, the libraries below them, and the kind of CPU that these are
    compiled for."""
    hasher = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            hasher.update(path.read_bytes())
    versions = [version(package) for package in ("torch", "torchvision", "numpy", "pillow")]
    return " ".join((hasher.hexdigest(), *versions, torch.backends.cpu.get_cpu_capability()))
