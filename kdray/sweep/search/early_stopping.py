"""Giving up what does badly: trials while they train (early stopping), points between their seeds
(racing)."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import optuna

from kdray.core.device_kinds import draw_alike
from kdray.results.points.objective import Objective, is_better
from kdray.sweep.definition.stopping import EarlyStopping, Racing

TWENTIETHS = 20
"""Of a trial's schedule: how finely time is looked at."""


class Stopper:
    """Early stopping by one of Optuna's pruners, each trial against those before it and beside it.

    The studies that it keeps, one for each bracket of hyperband and else one, are its own and in
    memory: they know one metric, and time in twentieths of each trial's own schedule.
    """

    def __init__(self, early: EarlyStopping) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._early = early
        self._studies = [
            optuna.create_study(
                direction="maximize" if early.mode == "max" else "minimize", pruner=pruner
            )
            for pruner in _pruners(early)
        ]
        self._shares = _shares(len(self._studies), early.reduction)
        self._of: dict[str, optuna.Study] = {}
        """Of the trials that compete: the study of the bracket that each is in."""
        self._trials: dict[str, optuna.Trial] = {}
        self._seen: dict[str, int] = {}
        self._stopped: dict[str, str] = {}

    def report(self, trial_id: str, share: float, value: float | None) -> str | None:
        """Hear of a trial that has done ``share`` of its schedule; why it is to stop, if it is. Two
        points may be one trial."""
        time = int(share * TWENTIETHS + 1e-9)
        if (
            value is None
            or not math.isfinite(value)
            or time <= self._seen.get(trial_id, 0)
            or share >= 1
        ):
            return self._stopped.get(trial_id)
        self._seen[trial_id] = time
        if trial_id not in self._trials:
            self._of[trial_id] = self._studies[_bracket(trial_id, self._shares)]
            self._trials[trial_id] = self._of[trial_id].ask()
        trial = self._trials[trial_id]
        trial.report(value, time)
        if not trial.should_prune():
            return None
        self._stopped[trial_id] = (
            f"{self._early.metric} {value:.4g} after {share:.0%} of its schedule "
            f"({self._early.pruner})"
        )
        return self._stopped[trial_id]

    def left(self, trial_id: str) -> float:
        """The part of its schedule that a trial had left when it was last heard of."""
        return 1 - self._seen.get(trial_id, 0) / TWENTIETHS

    def ended(self, trial_id: str, *, completed: bool) -> None:
        """Hear that a trial that competes has ended."""
        trial = self._trials.pop(trial_id, None)
        if (
            trial is not None
        ):  # what it was worth in the end plays no part: only its curve is looked at
            self._of.pop(trial_id).tell(
                trial,
                0.0 if completed else None,
                None if completed else optuna.trial.TrialState.PRUNED,
            )

    def replay(
        self, trial_id: str, curve: Iterable[tuple[float, float]], *, completed: bool
    ) -> None:
        """Take over a trial of an earlier run: (share of its schedule, value) after each of its
        epochs."""
        for share, value in curve:
            self.report(trial_id, share, value)
        self.ended(trial_id, completed=completed)


def _pruners(early: EarlyStopping) -> list[optuna.pruners.BasePruner]:
    """Optuna's pruner, of hyperband one for each bracket: successive halving that begins at another
    rung (Li et al. 2018, section 3; the last bracket's first rung is the last before the end)."""
    first = max(1, round(early.grace * TWENTIETHS))
    if early.pruner == "median":
        return [optuna.pruners.MedianPruner(n_startup_trials=early.startup, n_warmup_steps=first)]
    brackets = 1
    if early.pruner == "hyperband":
        while first * early.reduction**brackets < TWENTIETHS:
            brackets += 1
    return [
        optuna.pruners.SuccessiveHalvingPruner(
            min_resource=first, reduction_factor=early.reduction, min_early_stopping_rate=bracket
        )
        for bracket in range(brackets)
    ]


def _shares(brackets: int, reduction: int) -> list[float]:
    """Which part of the trials each bracket is given: (s_max + 1)/(s + 1)·reduction^s of them begin
    in the bracket with s rungs after its first (Li et al. 2018, algorithm 1)."""
    rungs = range(brackets - 1, -1, -1)
    sizes = [reduction**after / (after + 1) for after in rungs]
    return [size / sum(sizes) for size in sizes]


def _bracket(trial_id: str, shares: Sequence[float]) -> int:
    """The bracket of a trial, drawn by a hash of its id: the same whenever it is asked for, in a
    run that goes on as well."""
    digest = hashlib.blake2b(trial_id.encode(), digest_size=8).digest()
    place = int.from_bytes(digest) / 2**64
    ends = itertools.accumulate(shares)
    return min(sum(place >= end for end in ends), len(shares) - 1)


Devices = Sequence[str | None]
"""The kind of each trial's device; none where it is not known."""


class Race:
    """Racing: whether a point is clearly worse than the best that is complete, from the seeds that
    it has."""

    def __init__(self, racing: Racing, objective: Objective) -> None:
        self._racing, self._objective = racing, objective
        self._best: tuple[float, Sequence[float], Devices, int] | None = None

    def complete(self, values: Sequence[float], point: int, devices: Devices = ()) -> None:
        """Hear of a point all of whose seeds are there: the metric of each, and the kind of device
        that each was trained on, as far as it is known."""
        worth = self._objective.of([{self._objective.metric: value} for value in values])
        if self._best is None or is_better(worth, self._best[0], self._objective.mode):
            self._best = (worth, values, devices, point)

    def lost(self, values: Sequence[float], devices: Devices = ()) -> str | None:
        """Why a point whose first seeds gave ``values`` is not given the others, if so.

        Never where its mean is better than that of the best point, whatever the test says. Seeds on
        two kinds of ``devices`` are no pair, and from fewer than two pairs nothing follows.
        """
        if self._best is None or len(values) < 2:
            return None
        _, best, theirs, point = self._best
        if is_better(fmean(values), fmean(best), self._objective.mode):
            return None
        worse = "less" if self._objective.mode == "max" else "greater"
        unknown = itertools.repeat((None, None))
        kinds = itertools.chain(itertools.zip_longest(devices, theirs), unknown)
        differences = [
            mine - its
            for mine, its, pair in zip(values, best, kinds, strict=False)
            if draw_alike(*pair)
        ]
        if len(differences) < 2:
            return None
        from scipy import stats  # takes half a second to import

        p = float(stats.wilcoxon(differences, alternative=worse, zero_method="zsplit").pvalue)
        if p >= self._racing.p:
            return None
        return (
            f"worse than point {point} over {len(differences)} seeds "
            f"(Wilcoxon's signed-rank test, p = {p:.2g})"
        )
