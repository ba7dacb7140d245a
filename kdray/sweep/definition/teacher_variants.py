"""A teacher is measured in the forms in which its students ask it: one that they smooth is measured
smoothed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdray.core import fingerprint, parse
from kdray.models import Smoothing
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.read import Sweep
from kdray.sweep.definition.space import Point, below
from kdray.trials.experiment import Experiment, says_something

Form = Smoothing | None


def forms(sweep: Sweep) -> dict[str, list[Form]]:
    """By teacher: how the students of ``sweep`` ask it, in order; of a searched form its first
    value."""
    found: dict[str, list[Form]] = {}
    for space in sweep.spaces:
        smoothing = [
            p
            for p, leaf in space.distributions.items()
            if below(p, "supervision.smoothing") and leaf.finite
        ]
        for values in space.grid(list(dict.fromkeys([*space.teacher_paths, *smoothing]))):
            point = Point(-1, space, values)
            asked = (point.tree().get("supervision") or {}).get("smoothing")
            form = (
                None
                if asked is None
                else parse(Smoothing, asked, "experiment.supervision.smoothing")
            )
            for teacher in sweep.candidates(point):
                _add(found, teacher, form)
    return found


def forms_of(experiments: Iterable[Experiment]) -> dict[str, list[Form]]:
    """The same, of students that are there already."""
    found: dict[str, list[Form]] = {}
    for student in experiments:
        if student.teacher is not None:
            _add(found, student.teacher, student.supervision.smoothing)
    return found


def _add(found: dict[str, list[Form]], teacher: Experiment, form: Form) -> None:
    """Live dropout is the student's way of asking; without it all passes of such a teacher are
    alike, and one is enough."""
    form = form if says_something(form, teacher) else None
    known = found.setdefault(teacher.trial_id, [])
    if form not in known:
        known.append(form)


def in_forms(suite: Sequence[AnyEvaluation], forms: Sequence[Form]) -> tuple[AnyEvaluation, ...]:
    """``suite`` for each form; an evaluation that says itself how it smooths stays as it is."""
    wanted: dict[str, AnyEvaluation] = {}
    for form in forms or (None,):
        for evaluation in suite:
            if form is not None and evaluation.smoothing is None and not evaluation.smooths:
                label = f"{label_of(evaluation)}-{_called(form)}"
                evaluation = evaluation.model_copy(update={"smoothing": form, "label": label})
            wanted.setdefault(fingerprint(evaluation), evaluation)
    return tuple(wanted.values())


def _called(form: Smoothing) -> str:
    """For labels: what is at its default is left out."""
    aggregate = (
        ""
        if form.aggregate == Smoothing.model_fields["aggregate"].default
        else f"-{form.aggregate}"
    )
    return f"smoothed{form.samples}{aggregate}" + (
        f"-sigma{form.sigma:g}".replace(".", "_") if form.sigma else ""
    )
