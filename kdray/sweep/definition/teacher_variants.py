"""A teacher is measured in the variants in which its students ask it: one that they smooth is
measured smoothed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kdray.core import fingerprint, parse
from kdray.models import Smoothing
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.tree import below
from kdray.sweep.definition.trials import Sweep
from kdray.trials.experiment import AnyTrial, says_something

Variant = Smoothing | None
"""How a teacher is asked; none: as it is."""


def teacher_variants(sweep: Sweep) -> dict[str, list[Variant]]:
    """Return, by teacher, how the students of ``sweep`` ask it, in order; where smoothing itself is
    searched, its first value stands for all."""
    found: dict[str, list[Variant]] = {}
    for space in sweep.spaces:
        smoothing = [
            p
            for p, leaf in space.distributions.items()
            if below(p, "supervision.smoothing") and leaf.finite
        ]
        for point, candidates in sweep.taught_points(space, smoothing):
            asked = (point.tree().get("supervision") or {}).get("smoothing")
            where = "experiment.supervision.smoothing"
            variant = None if asked is None else parse(Smoothing, asked, where)
            for teacher in candidates:
                _add(found, teacher, variant)
    return found


def variants_of_students(experiments: Iterable[AnyTrial]) -> dict[str, list[Variant]]:
    """Return, by teacher, how students that are there already ask it."""
    found: dict[str, list[Variant]] = {}
    for student in experiments:
        if student.teacher is not None:
            _add(found, student.teacher, student.supervision.smoothing)
    return found


def _add(found: dict[str, list[Variant]], teacher: AnyTrial, variant: Variant) -> None:
    """Note a variant once. A teacher without live dropout gives the same in every pass, so that a
    smoothed variant of it is no variant."""
    variant = variant if says_something(variant, teacher) else None
    known = found.setdefault(teacher.trial_id, [])
    if variant not in known:
        known.append(variant)


def in_variants(
    suite: Sequence[AnyEvaluation], variants: Sequence[Variant]
) -> tuple[AnyEvaluation, ...]:
    """Return ``suite`` for each variant; an evaluation that says itself how it smooths stays as it
    is."""
    wanted: dict[str, AnyEvaluation] = {}
    for variant in variants or (None,):
        for evaluation in suite:
            if variant is not None and evaluation.smoothing is None and not evaluation.smooths:
                label = f"{label_of(evaluation)}-{_label(variant)}"
                evaluation = evaluation.model_copy(update={"smoothing": variant, "label": label})
            wanted.setdefault(fingerprint(evaluation), evaluation)
    return tuple(wanted.values())


def _label(variant: Smoothing) -> str:
    """Return what labels add for a variant: what is at its default is left out."""
    default = Smoothing.model_fields["aggregate"].default
    aggregate = "" if variant.aggregate == default else f"-{variant.aggregate}"
    sigma = f"-sigma{variant.sigma:g}".replace(".", "_") if variant.sigma else ""
    return f"smoothed{variant.samples}{aggregate}{sigma}"
