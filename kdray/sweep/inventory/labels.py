"""What a sweep calls its evaluations."""

from __future__ import annotations

from collections.abc import Iterator

from kdray.core import fingerprint, parse
from kdray.robustness import AnyEvaluation, Monitor, label_of
from kdray.robustness.suite import WhileTraining
from kdray.sweep.definition.space import Space
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.tree import below
from kdray.sweep.definition.trials import Sweep
from kdray.trials.experiment import Experiment

MONITOR = "training.monitor"


def evaluation_labels(sweep: Sweep) -> dict[str, str]:
    """Evaluation id to label, of all evaluations of ``sweep``; also of the variants in which its
    teachers are measured."""
    listed: list[AnyEvaluation] = [*sweep.file.evaluate.suite, *sweep.finals]
    for asked in teacher_variants(sweep).values():
        listed += in_variants(sweep.suite("teacher"), asked)
    return {fingerprint(evaluation): label_of(evaluation) for evaluation in listed}


def monitored_labels(sweep: Sweep) -> dict[str, str]:
    """The same of what is measured while students and teachers train."""
    monitors = [monitor for space in sweep.spaces for monitor in _of_students(space)]
    monitors += [
        teacher.training.monitor
        for teacher in sweep.teachers()
        if isinstance(teacher, Experiment) and teacher.training.monitor is not None
    ]
    return {
        fingerprint(WhileTraining(evaluation=evaluation)): label_of(evaluation)
        for monitor in monitors
        for evaluation in monitor.suite
    }


def _of_students(space: Space) -> Iterator[Monitor]:
    """Yield every monitor that the students of ``space`` may have; of one that is itself searched
    in a range that at its edges."""
    leaves = [
        path
        for path, leaf in space.distributions.items()
        if leaf.finite and (below(path, MONITOR) or below(MONITOR, path))
    ]
    for values in space.grid(leaves):
        written = (space.assign(values).get("training") or {}).get("monitor")
        if written is not None:
            yield parse(Monitor, written, f"experiment.{MONITOR}")
