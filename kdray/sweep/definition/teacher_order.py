"""The order in which teachers are trained: whoever teaches comes before whom it teaches."""

from __future__ import annotations

from collections.abc import Iterator

from kdray.sweep.definition.trials import Sweep
from kdray.trials.experiment import AnyTrial


def ancestors(teacher: AnyTrial) -> Iterator[AnyTrial]:
    """Yield ``teacher``, its teacher, and so on."""
    yield teacher
    if teacher.teacher is not None:
        yield from ancestors(teacher.teacher)


def chain(sweep: Sweep) -> list[AnyTrial]:
    """Every teacher, and every teacher of a teacher, each once; whoever teaches comes before whom
    it teaches."""
    found = {t.trial_id: t for teacher in sweep.teachers() for t in ancestors(teacher)}
    return sorted(found.values(), key=lambda teacher: len(list(ancestors(teacher))))
