"""What is noted of the restarts of an attack."""

from __future__ import annotations

import torch

from kdray.robustness.attack_record import NEVER, AttackRecord, WorstExamples
from kdray.robustness.base import Block


def record() -> AttackRecord:
    return AttackRecord.before(torch.tensor([1, 0, 1]), steps=(2, 5), restarts=2, repeats=1)


def test_before_the_first_restart_only_what_is_misclassified_anyway_is_broken() -> None:
    before = record()
    assert before.broken_at.tolist() == [NEVER, -1, NEVER]
    assert before.attackable.tolist() == before.survives.tolist() == [True, False, True]


def test_the_first_iterate_that_breaks_an_image_counts() -> None:
    noted, at = record(), torch.tensor([0, 2])
    for number, wrong in [(4, [True, False]), (1, [False, True]), (6, [True, True])]:
        noted.note_broken(at, torch.tensor(wrong), number)
    assert noted.broken_at.tolist() == [4, -1, 1]


def test_an_image_survives_if_it_does_at_one_of_the_numbers_of_steps() -> None:
    noted = record()
    noted.right[5][1, 0] = 0
    assert noted.survives.tolist() == [True, False, True]
    noted.right[2][0, 0] = 0
    assert noted.survives.tolist() == [False, False, True]


def test_records_of_blocks_are_joined_in_order() -> None:
    joined = AttackRecord.joined([record(), record()])
    assert joined.clean.tolist() == [1, 0, 1, 1, 0, 1]
    assert joined.right[5].shape == (2, 6)


def test_of_the_restarts_the_example_with_the_fewest_right_predictions_is_kept() -> None:
    block = Block(0, torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]))
    worst = WorstExamples(block, (3,), 4)
    first, second = torch.full((2, 1, 1, 1), 0.1), torch.full((2, 1, 1, 1), 0.2)
    worst.note(3, torch.tensor([0, 1]), first, torch.tensor([4, 2]))
    worst.note(3, torch.tensor([0, 1]), second, torch.tensor([3, 2]))
    assert worst.images[3].flatten().tolist() == [*second[:1].flatten().tolist(), first[1].item()]
