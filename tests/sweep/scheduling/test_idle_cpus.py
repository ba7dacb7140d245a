"""Whether a phase leaves most of a machine idle."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kdray.sweep.definition.file import Request
from kdray.sweep.plan import plan
from kdray.sweep.scheduling.idle_cpus import idle_text
from tests.sweep.fakes import Engine, go, sweep_of

ONE_TEACHER = {"experiment.teacher.seeds": 1}
IDLE = "1 teacher uses 1 of 16 CPUs; resources.teacher.cpu: 16 would use all of them"


@pytest.mark.parametrize(
    ("trials", "request_", "cpus", "text"),
    [
        (1, Request(), 16, IDLE),
        (
            3,
            Request(cpu=2),
            16,
            "3 teachers use 6 of 16 CPUs; resources.teacher.cpu: 5 would use 15 of them",
        ),
        (8, Request(cpu=2), 16, None),
        (9, Request(), 16, None),
        (1, Request(), 2, None),
        (0, Request(), 16, None),
        (1, Request(gpu=0.5), 16, None),
        (1, Request(gpu="auto"), 16, None),
    ],
)
def test_few_trials_on_many_cpus_are_said(
    trials: int, request_: Request, cpus: float, text: str | None
) -> None:
    assert idle_text("teacher", request_, trials, cpus) == text


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a test can ask for with ``cpus``, whatever is here."""
    from kdray.sweep.execution.resources import Node

    node = Node("here", 16, 0, 64)
    for module in ("run", "plan"):
        monkeypatch.setattr(f"kdray.sweep.{module}.this_machine", lambda *_: node)


def test_run_and_plan_say_where_a_phase_leaves_the_machine_idle(
    engine: Engine,
    results: Path,
    many_cpus: None,  # noqa: ARG001, RUF100
) -> None:
    assert plan(sweep_of(ONE_TEACHER), results).notes == [
        IDLE,
        "4 students use 4 of 16 CPUs; resources.student.cpu: 4 would use all of them",
    ]
    said = io.StringIO()
    go(results, ONE_TEACHER, said=said)
    assert said.getvalue().count(f"teachers: {IDLE}\n") == 1
    assert engine.ran
    assert plan(sweep_of(ONE_TEACHER), results).notes == [], "nothing is left to do"
