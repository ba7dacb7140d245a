"""Seeds by number, beside how many."""

from __future__ import annotations

from typing import Any

import pytest

from kdray.core import InputError
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.definition.smoke import shrink
from kdray.sweep.definition.trials import Sweep
from tests.sweep.fakes import TINY, changed


def described(**fields: Any) -> Sweep:
    return sweep_from(changed(TINY, {key.replace("__", "."): v for key, v in fields.items()}))


def students(sweep: Sweep, seeds: list[int]) -> list[str]:
    point = next(sweep.grid())
    teacher = sweep.candidates(point)[0]
    return [sweep.student(point, seed, teacher).trial_id for seed in seeds]


def test_so_many_seeds_are_those_from_0_on() -> None:
    counted, listed = described(seeds=3), described(seeds=[0, 1, 2])
    assert list(counted.file.seed_numbers) == list(listed.file.seed_numbers) == [0, 1, 2]
    assert students(counted, [0, 1, 2]) == students(listed, [0, 1, 2])
    assert listed.file.objectives == counted.file.objectives


def test_teachers_have_the_seeds_of_their_list() -> None:
    sweep = described(experiment__teacher__seeds=[7, 2])
    assert [teacher.seed for teacher in sweep.candidates(next(sweep.grid()))] == [7, 2]


def test_each_student_has_the_teacher_of_its_own_seed() -> None:
    tree = changed(TINY, {"seeds": [3, 8], "experiment.teacher.select": "each"})
    del tree["experiment"]["teacher"]["seeds"]
    sweep = sweep_from(tree)
    assert [teacher.seed for teacher in sweep.candidates(next(sweep.grid()))] == [3, 8]
    tree["experiment"]["teacher"]["seeds"] = 5
    with pytest.raises(InputError, match="there is no teacher with seed 8; select: each needs"):
        sweep_from(tree)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds: "),
        ([1, 1], "seeds: seed 1 is there twice"),
        ([-1], "seeds: needs "),
        ("3", "seeds: "),
        (0, "seeds: "),
        ([0.5], "seeds: needs "),
        ([2**63], "seeds: needs "),
        ({"grid": [1, 2]}, "seeds: "),
    ],
)
def test_what_are_no_seeds_is_told_in_one_line(seeds: Any, message: str) -> None:
    for where in ("seeds", "experiment.teacher.seeds"):
        with pytest.raises(InputError, match=message) as raised:
            sweep_from(changed(TINY, {where: seeds}))
        assert "\n" not in str(raised.value)


def test_a_smoke_run_has_the_first_two_of_a_list() -> None:
    assert shrink({"seeds": [11, 5, 2]})["seeds"] == [11, 5]
