"""The members of the plug-in that is shipped keep to every contract, from three lines each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from kdray.sweep.definition.plugins import load_plugin, unload_plugin
from kdray.testing import check_data, check_input_noise, check_method, check_model
from tests.shipped import PLUGINS


@pytest.fixture
def lab() -> Iterator[ModuleType]:
    plugin = load_plugin(PLUGINS / "my_lab.py")
    yield sys.modules[plugin.name]
    unload_plugin(plugin)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_loss(lab: ModuleType, alpha: float) -> None:
    check_method(lab.MeanSquaredLogits(alpha=alpha))


def test_the_network(lab: ModuleType) -> None:
    check_model(lab.OneHiddenLayer(width=4))
    check_model(lab.OneHiddenLayer(width=4), shape=(1, 8, 8), classes=2)


def test_the_data_set(lab: ModuleType) -> None:
    check_data(lab.Stripes())
    check_data(lab.Stripes(noise=10.0, resize=12))


def test_the_noise(lab: ModuleType) -> None:
    check_input_noise(lab.SaltAndPepper(rate=0.2))
    check_input_noise(lab.SaltAndPepper(rate=0.2, clip=True), shape=(1, 8, 8))


def test_testing_needs_no_test_framework_and_is_imported_only_when_asked_for() -> None:
    script = (
        "import sys, kdray, kdray.methods, kdray.cli\n"
        "assert 'kdray.testing' not in sys.modules\n"
        "import kdray.testing\n"
        "assert not {'pytest', 'ray'} & set(sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
