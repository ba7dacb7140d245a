"""Networks that a plug-in builds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from kdray.core import InputError, canonical
from kdray.sweep.definition.plugins import load_plugin, loaded_plugins, unload_plugin
from kdray.testing import check_model
from kdray.trials.experiment import Experiment
from tests.small_trials import description

NETS = """
    from torch import nn

    CONSTANT = 3

    def small(classes=10, width=16):
        return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(inplace=True),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

    def broken():
        raise ValueError("no such width")

    def words():
        return "a network"

    class Net(nn.Module):
        def __init__(self, width=8):
            super().__init__()
            self.body = nn.Linear(64, width)
            self.head = nn.Linear(width, 10)

        def forward(self, images):
            return self.head(self.body(images.flatten(1)).relu())
"""


@pytest.fixture
def nets(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "nets_of_a_test.py"
    path.write_text(dedent(NETS))
    load_plugin(path)
    yield path
    for plugin in loaded_plugins():
        unload_plugin(plugin)


def model(factory: str, **fields: Any) -> dict[str, Any]:
    return {"name": "module", "factory": f"nets_of_a_test:{factory}", **fields}


def parsed(factory: str, **fields: Any) -> Experiment:
    return Experiment.parse(description(model=model(factory, **fields)))


@pytest.mark.parametrize("factory", ["small", "Net"])
def test_a_function_or_a_class_gives_the_network(nets: Path, factory: str) -> None:
    del nets
    network = parsed(factory).model.build((1, 8, 8), 10)
    outputs = network(torch.rand(5, 1, 8, 8))
    assert outputs.logits.shape == (5, 10)
    assert outputs.embedding.shape == (5, 16 if factory == "small" else 8)
    assert outputs.stages == ()


def test_it_keeps_to_what_every_model_keeps_to(nets: Path) -> None:
    del nets
    check_model(parsed("Net").model, shape=(1, 8, 8), classes=10)


def test_named_modules_are_stages(nets: Path) -> None:
    del nets
    experiment = parsed("small", stages=["0", "2"], arguments={"width": 4})
    outputs = experiment.model.build((1, 8, 8), 10)(torch.randn(5, 1, 8, 8))
    assert [tuple(stage.shape[1:]) for stage in outputs.stages] == [(4, 6, 6), (4, 1, 1)]
    assert (outputs.stages[0] < 0).any(), "changed in place after it was recorded"


def test_its_identity_has_the_arguments_and_the_source(nets: Path) -> None:
    first, other = parsed("small"), parsed("small", arguments={"width": 4})
    assert first.trial_id != other.trial_id
    assert first.trial_id == parsed("small").trial_id
    assert Experiment.parse(canonical(first)) == first
    for plugin in loaded_plugins():
        unload_plugin(plugin)
    nets.write_text(nets.read_text() + "\n# another remark\n")
    load_plugin(nets)
    assert parsed("small").trial_id != first.trial_id
    with pytest.raises(InputError, match="source: the code of nets_of_a_test:small has changed"):
        Experiment.parse(canonical(first))


@pytest.mark.parametrize(
    ("factory", "fields", "message"),
    [
        ("nothing", {}, "model.factory: plug-in nets_of_a_test has no 'nothing'"),
        ("CONSTANT", {}, "model.factory: nets_of_a_test:CONSTANT is a int, not callable"),
        ("broken", {}, "model.factory: nets_of_a_test:broken raised ValueError: no such width"),
        ("words", {}, "model.factory: nets_of_a_test:words gives a str, not an nn.Module"),
        ("small", {"arguments": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ("small", {"arguments": {"classes": 7}}, "7"),
        ("small", {"stages": ["layer1"]}, "model.stages: there is no module 'layer1'"),
    ],
)
def test_what_gives_no_network_is_one_line(
    nets: Path, factory: str, fields: dict[str, Any], message: str
) -> None:
    del nets
    with pytest.raises(InputError) as raised:
        parsed(factory, **fields)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_its_plugin_it_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError,
        match=r"^model\.factory: there is no plug-in 'elsewhere'; name it: --plugin FILE$",
    ):
        Experiment.parse(description(model={"name": "module", "factory": "elsewhere:net"}))
