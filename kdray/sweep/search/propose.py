"""Where points come from: the grid in order, or Optuna's samplers by ask and tell.

A search lives in memory. It is rebuilt at every start: the points that the sweep has asked for come
first, and are told as any other once their seeds are there.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from kdray.sweep.definition.samplers import Grid, Proposer
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.trials import Stratum, Sweep
from kdray.sweep.search.history import History, PastPoints
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.parameters import OptunaParameters
from kdray.sweep.search.point_result import PointResult, ended_trial, missed, new_study
from kdray.sweep.search.samplers import sampler_of, seed_of

ATTEMPTS = 200
"""So many suggestions in a row that are there already mean that the search space is used up."""

LEARNT_ATTEMPTS = 10
"""So many of them are the sampler's; those after them are random, since it finds the same again."""


class SpaceUsedUp(UserWarning):
    """A search stops before it has tried as many points as it should: there are no more, or it
    finds no more."""


class PointSource(Protocol):
    """Gives points and hears of them."""

    @property
    def fresh(self) -> bool:
        """Whether the next point would be one that nobody has asked for yet."""

    @property
    def begun(self) -> Sequence[Point]:
        """The points that come first, because an earlier run of a search has asked for them."""

    def next(self) -> Point | None:
        """The next point to try; none when there are no more."""

    def tell(self, point: Point, result: PointResult) -> None:
        """What became of the point."""


def source_of(sweep: Sweep, past: PastPoints | None, mirror: Mirror) -> PointSource:
    """Makes the source that the sweep's sampler names, which goes on from ``past`` and shows
    everything in ``mirror``."""
    search = sweep.file.search
    if isinstance(search, Grid):
        return GridSource(sweep, mirror)
    sources = [
        SearchSource(
            sweep,
            search,
            stratum,
            past.of(stratum) if past is not None else History(),
            Turn(number, len(sweep.strata)),
        )
        for number, stratum in enumerate(sweep.strata)
    ]
    return Searches(sources, past, mirror)


class GridSource:
    """Every point of the space, in order."""

    fresh = False
    begun = ()

    def __init__(self, sweep: Sweep, mirror: Mirror) -> None:
        self._sweep, self._mirror = sweep, mirror
        self._parameters = OptunaParameters(sweep.spaces)
        self._points = sweep.grid()
        mirror.begin(sweep.name)

    def next(self) -> Point | None:
        return next(self._points, None)

    def tell(self, point: Point, result: PointResult) -> None:
        trial = ended_trial(self._sweep.file.objectives, self._parameters, point, result)
        self._mirror.tell(self._sweep.name, trial)


class Searches:
    """Several searches, which give their points in turn, and show them."""

    def __init__(
        self, sources: Sequence[SearchSource], past: PastPoints | None, mirror: Mirror
    ) -> None:
        self._turns, self._past, self._mirror = deque(sources), past, mirror
        self._asked: dict[int, SearchSource] = {}
        for source in sources:
            mirror.begin(source.name)
            for point, result in source.known:
                mirror.tell(source.name, source.trial(point, result, known=True))

    @property
    def fresh(self) -> bool:
        return any(source.fresh for source in self._turns) and not self.begun

    @property
    def begun(self) -> Sequence[Point]:
        return [point for source in self._turns for point in source.begun]

    def next(self) -> Point | None:
        # What was asked for before comes before what nobody has asked for.
        for source in sorted(self._turns, key=lambda source: not source.begun):
            begun = bool(source.begun)
            if (point := source.next()) is not None:
                self._turns.remove(source)
                self._turns.append(source)
                self._asked[point.number] = source
                if self._past is not None and not begun:
                    self._past.note(point)
                return point
        return None

    def tell(self, point: Point, result: PointResult) -> None:
        source = self._asked[point.number]
        source.tell(point, result)
        self._mirror.tell(source.name, source.trial(point, result))
        if self._past is not None:
            self._past.ended(point)


class Turn(NamedTuple):
    """Which of how many searches it is: their points are numbered in turn."""

    number: int
    of: int


ALONE = Turn(0, 1)


class SearchSource:
    """One of Optuna's samplers over a stratum, in a study of its own in memory.

    Points of other sweeps are told before it begins. The points that this sweep has asked for are
    given first, so that seeds and evaluations that they lack are added; then those that the file
    says to begin with; then new ones.
    """

    def __init__(
        self, sweep: Sweep, search: Proposer, stratum: Stratum, history: History, turn: Turn = ALONE
    ) -> None:
        self.name = f"{sweep.name} [{stratum}]" if stratum.fixed else sweep.name
        self._objectives, self._search, self._turn = sweep.file.objectives, search, turn
        self._parameters = OptunaParameters(stratum.spaces)
        self._study = new_study(self._objectives)
        self.known = [(point, PointResult(numbers)) for point, numbers in history.known]
        for point, result in self.known:
            self._study.add_trial(self.trial(point, result))
        self._numbers = set(history.numbers)
        self._begun = deque(self._numbered(history.asked))
        self._given = deque(self._not_asked(history.asked))
        self._running: dict[int, Trial] = {}
        self._taken = {point.text for point in self._begun}
        self._exhausted = False

    @property
    def begun(self) -> Sequence[Point]:
        return tuple(self._begun)

    @property
    def fresh(self) -> bool:
        wanted = min(self._search.points, self._parameters.size)
        return not self._begun and not self._exhausted and len(self._taken) < wanted

    def next(self) -> Point | None:
        if self._begun:
            point = self._begun.popleft()
            self._ask(self._parameters.parameters(point), point.number)
            return point
        if self._exhausted or len(self._taken) >= self._search.points:
            return None
        if len(self._taken) >= self._parameters.size:
            self._use_up()
            return None
        number, fixed = self._number(len(self._taken)), self._given.popleft() if self._given else {}
        for attempt in range(ATTEMPTS):
            self._study.sampler = self._sampler(len(self._taken), attempt)
            point = self._ask(fixed, number)
            if point.text not in self._taken:
                self._taken.add(point.text)
                self._numbers.add(number)
                return point
            # A point that is there already costs nothing and tells nothing: the search asks on.
            self._study.tell(self._running.pop(number), state=TrialState.FAIL)
            fixed = {}
        self._use_up()
        return None

    def tell(self, point: Point, result: PointResult) -> None:
        trial, score = self._running.pop(point.number), result.score(self._objectives)
        if score is None:
            if result.seen is not None and len(self._objectives.objectives) == 1:
                seeds, value = result.seen
                trial.report(value, seeds)
            self._study.tell(trial, state=result.state)
            return
        for constraint, by in missed(self._objectives, score).items():
            trial.set_constraint(constraint, by)
        self._study.tell(trial, list(score.values))

    def trial(
        self, point: Point, result: PointResult, **attributes: Any
    ) -> optuna.trial.FrozenTrial:
        """Makes the trial that stands for an ended point."""
        return ended_trial(self._objectives, self._parameters, point, result, **attributes)

    def _ask(self, fixed: Mapping[str, Any], number: int) -> Point:
        """A new trial of the study, of which some parameters are given, under way as ``number``."""
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        self._running[number] = trial = self._study.ask()
        return self._parameters.ask(trial, number)

    def _sampler(self, position: int, attempt: int) -> optuna.samplers.BaseSampler:
        place = self._placed(position)
        seed = seed_of(self._search, place, *([attempt] if attempt else []))
        if attempt >= LEARNT_ATTEMPTS:
            return RandomSampler(seed)
        return sampler_of(self._search, position + attempt, seed, self._parameters.common)

    def _number(self, position: int) -> int:
        """The first number from ``position`` on, among this search's, that no point has."""
        places = map(self._placed, itertools.count(position))
        return next(number for number in places if number not in self._numbers)

    def _placed(self, position: int) -> int:
        """The number of this search's point at ``position``, where nothing was ever changed."""
        return position * self._turn.of + self._turn.number

    def _numbered(self, asked: Sequence[Point]) -> Iterator[Point]:
        """Points under their numbers, a new one where two have the same."""
        used: set[int] = set()
        for position, point in enumerate(asked):
            number = point.number if point.number not in used else self._number(position)
            used.add(number)
            self._numbers.add(number)
            yield point._replace(number=number)

    def _not_asked(self, asked: Sequence[Point]) -> Iterator[dict[str, Any]]:
        """The parameters of the points to begin with that were not asked for yet."""
        before = [self._parameters.parameters(point) for point in asked]
        for values in self._search.first:
            given = {path.removeprefix("experiment."): value for path, value in values.items()}
            if self._parameters.fits(given):
                parameters = self._parameters.given(given)
                if not any(parameters.items() <= each.items() for each in before):
                    yield parameters

    def _use_up(self) -> None:
        self._exhausted = True
        warnings.warn(
            f"the search space is used up: {len(self._taken)} different points",
            SpaceUsedUp,
            stacklevel=3,
        )
