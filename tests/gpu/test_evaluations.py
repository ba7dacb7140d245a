"""Every evaluation measures on a GPU."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest

from kdray.core import seeds
from kdray.data import to_unit
from kdray.perturbations.attacks import Norm, iterates, random_start
from kdray.robustness import AnyEvaluation, Evaluation, Subject, measurements
from kdray.testing.evaluations import first
from tests.contracts.members import every
from tests.contracts.test_evaluations import subject as subject_on_cpu
from tests.gpu.pretend import pretending
from tests.gpu.tensor import GPU


def on_gpu() -> Subject:
    found = first(subject_on_cpu(), 8)
    return found._replace(
        classifier=deepcopy(found.classifier).to(GPU),
        teacher=None if found.teacher is None else deepcopy(found.teacher).to(GPU),
        split=found.split.to(GPU),
        others={name: lambda: deepcopy(found.classifier).to(GPU) for name in found.others},
    )


@every(AnyEvaluation)
def test_it_measures(value: Evaluation) -> None:
    subject_on_cpu()  # files that are written on the CPU
    with pretending() as record:
        found = measurements(value, on_gpu())
    assert [each for each in found if each.error is None]
    assert record.launches


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_of_pgd_waits_for_nothing(norm: Norm) -> None:
    with pretending() as record:
        subject = on_gpu()
        images, labels = to_unit(subject.split.images), subject.split.labels
        draws = seeds.generator(0, "attack", device=GPU)
        stalls: list[Counter[str]] = []
        for _ in iterates(
            subject.classifier.logits,
            images,
            labels,
            norm=norm,
            epsilon=0.1,
            step_size=0.03,
            steps=4,
            start=random_start(images, norm, 0.1, draws),
        ):
            stalls.append(record.stalls)
    assert len(stalls) == 5
    assert stalls[0] == stalls[-1]
