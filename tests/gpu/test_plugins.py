"""What joins from a plug-in trains on a GPU as kdray's own members do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import kdray
from kdray.core.unions import joined
from kdray.sweep.definition.plugins import load_plugin, unload_plugin
from kdray.sweep.definition.trials import Sweep
from tests.gpu.test_training import assert_runs_ahead
from tests.gpu.trainings import BATCH, CNN, described, trained

SHIPPED = Path(__file__).parents[2] / "sweeps" / "plugins"
WAITING = """
from typing import ClassVar, Literal

import kdray
from torch.nn import functional


class Waits(kdray.OutputMethod):
    '''Cross-entropy, looked at in every step.'''

    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    needs_teacher: ClassVar[bool] = False
    paper: ClassVar[str] = "none"

    name: Literal["waits"] = "waits"

    def compare(self, logits, labels, teacher_logits):
        loss = functional.cross_entropy(logits, labels)
        assert loss.item() >= 0
        return loss, {"cross_entropy": loss}

"""


@pytest.fixture
def lab() -> Iterator[Sweep]:
    plugin = load_plugin(SHIPPED / "my_lab.py")
    yield kdray.load_sweep(SHIPPED / "my_lab.yaml")
    unload_plugin(plugin)


def test_the_shipped_plugin_trains_ahead_of_the_gpu(lab: Sweep) -> None:
    points = [lab.first_student(point) for point in lab.grid()]
    assert len(points) == 4
    for experiment in points:
        assert isinstance(experiment.method, tuple(joined()))
        training = experiment.training.model_copy(update={"batch_size": BATCH})
        assert_runs_ahead(trained(experiment.model_copy(update={"training": training})))


def test_a_plugin_that_waits_for_the_gpu_in_every_step_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    plugin = load_plugin(tmp_path / "waiting.py")
    try:
        (method,) = plugin.members
        record = trained(described(CNN, method()))
    finally:
        unload_plugin(plugin)
    assert record.step(-1).stalls
