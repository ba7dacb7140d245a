"""What a sweep calls its evaluations."""

from __future__ import annotations

from kdray.core import fingerprint
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.trials import Sweep


def evaluation_labels(sweep: Sweep) -> dict[str, str]:
    """Evaluation id to label, of all evaluations of ``sweep``; also of the variants in which its
    teachers are measured."""
    listed: list[AnyEvaluation] = [*sweep.file.evaluate.suite, *sweep.finals]
    for asked in teacher_variants(sweep).values():
        listed += in_variants(sweep.suite("teacher"), asked)
    return {fingerprint(evaluation): label_of(evaluation) for evaluation in listed}
