"""A sampler that breaks a contract is told which one."""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

import optuna
import pytest

from kdray.sweep.definition.samplers import Proposer
from kdray.testing import SAMPLER_CONTRACTS, check_sampler
from tests.testing.broken import assert_breaks_only, broken_by


class Sound(Proposer):
    """Random points."""

    sampler: Literal["sound"] = "sound"

    def optuna_sampler(self, seed: int) -> Any:
        return optuna.samplers.RandomSampler(seed)


class Unseeded(Sound):
    """Adds to its seed how often it was asked."""

    def optuna_sampler(self, seed: int) -> Any:
        return optuna.samplers.RandomSampler(hash((seed, next(SERIAL))) % 2**31)


SERIAL = count()


def test_a_sampler_whose_seed_does_not_decide_is_told_so() -> None:
    said = broken_by(Unseeded(points=7), SAMPLER_CONTRACTS)
    name = "equal_seeds_propose_equal_points_and_others_do_not"
    assert said.keys() == {name, "a_continued_search_proposes_what_the_uninterrupted_one_does"}
    assert said[name].startswith(f"Unseeded breaks the contract {name}: of equal seeds come [")


class OneSeed(Sound):
    """Does not look at the seed that a sweep file gives it."""

    def optuna_sampler(self, seed: int) -> Any:
        return ByNumber()


class ByNumber(optuna.samplers.RandomSampler):
    """Draws from the number of the trial."""

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
        drawn = optuna.samplers.RandomSampler(trial.number)
        return drawn.sample_independent(study, trial, name, distribution)


def test_a_sampler_that_ignores_its_seed_is_told_so() -> None:
    broken = OneSeed(points=7)
    assert_breaks_only(
        broken_by(broken, SAMPLER_CONTRACTS),
        broken,
        "equal_seeds_propose_equal_points_and_others_do_not",
        "another seed proposes the same points",
    )


class Unused(Proposer):
    """Does not say which sampler it is."""

    sampler: Literal["unused"] = "unused"


def test_a_sampler_that_is_none_is_told_so() -> None:
    with pytest.raises(AssertionError, match=r"Unused does not say which sampler it is$"):
        check_sampler(Unused(points=7))


def test_a_sound_sampler_passes() -> None:
    check_sampler(Sound(points=3, seed=5))
