"""Shapes in annotations are checked while the tests run, in the packages that work on tensors."""

import atexit
import os
import shutil
import tempfile

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

# What processes of a node share is shared by the processes of one run of the tests, and by no
# others.
os.environ["KDRAY_CACHE"] = tempfile.mkdtemp(prefix="kdray-tests-")
atexit.register(shutil.rmtree, os.environ["KDRAY_CACHE"], ignore_errors=True)

install_import_hook(
    [
        "kdray.data",
        "kdray.methods",
        "kdray.models",
        "kdray.perturbations",
        "kdray.robustness",
        "kdray.teachers",
    ],
    "beartype.beartype",
)

# The same examples in every run, none kept on disk, and no failure because a machine is busy.
settings.register_profile("kdray", derandomize=True, database=None, deadline=None)
settings.load_profile("kdray")

# Tensors here are tiny: one thread is fastest, and part of what makes numbers bit-exact.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws from torch's global generator is the same in every run and every order."""
    torch.manual_seed(0)
