"""What the check does on a GPU only is tried on the pretended one: no graph, no cap, no real speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from kdray.methods import KD
from kdray.teachers import frozen
from tests.benchmarks.networks import dataset, untrained
from tests.gpu.check import memory, part, right, speed, suite, switches
from tests.gpu.check.right import Case
from tests.gpu.pretend import pretending
from tests.gpu.record import Record
from tests.gpu.tensor import GPU

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
"""torch says so where weights are read into the double's tensors."""
SMALL = Case.of(KD())


@pytest.fixture
def on_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Within it there is a GPU, and the check of one is as small as that of a CPU."""
    monkeypatch.setattr(part, "FULL", part.TINY)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    dataset()  # read where nothing is pretended
    with pretending() as record:
        yield record


def test_students_are_the_same_again_and_beside_the_cpu(
    on_double: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = tuple(way for way in right.WAYS if not way.grant.compute.cuda_graph)
    monkeypatch.setattr(right, "WAYS", eager)
    figures = list(right.again(SMALL, GPU))
    assert [figure.met for figure in figures] == [True] * (len(eager) + 1)
    assert on_double.launches


@pytest.mark.usefixtures("on_double")
def test_waits_are_looked_for() -> None:
    (figure,) = right.waits(SMALL, GPU)
    assert figure.met is True


@pytest.mark.usefixtures("on_double")
def test_memory_is_measured() -> None:
    (peak,) = memory.peak(GPU)
    (context,) = memory.context(GPU)
    assert peak.values
    assert context.values


@pytest.mark.usefixtures("on_double")
@pytest.mark.parametrize(
    "work", [lambda: speed.training(KD(), "bfloat16", GPU, 2), lambda: speed.attacking(2, GPU, 1)]
)
def test_works_have_a_speed_and_a_cost(work: Callable[[], speed.Work]) -> None:
    made = work()
    assert made.rate(GPU) > 0
    assert min(speed.counted(made.run)) > 0


@pytest.mark.usefixtures("on_double")
@pytest.mark.parametrize("name", ["bit for bit the same again", "fused optimiser"])
def test_a_switch_has_a_gain(name: str) -> None:
    (figure,) = switches.gain(name, switches.SWITCHES[name], GPU)
    assert figure.values


def test_an_evaluation_of_the_suite_is_timed(
    on_double: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = frozen(untrained("small CNN").to(GPU))
    monkeypatch.setattr(suite, "taught", lambda name, epochs, device: network)
    monkeypatch.setattr(suite, "untrained", lambda name: network)
    monkeypatch.setattr(suite, "IMAGES", 4)
    first = suite.suite(torch.device("cpu"))[:2]
    monkeypatch.setattr(suite, "suite", lambda device: first)
    clean, noise, whole = suite.figures(GPU)
    assert clean.values[0] + noise.values[0] == whole.values[0]
    assert whole.note == "2 of 2 evaluations, 4 images"
