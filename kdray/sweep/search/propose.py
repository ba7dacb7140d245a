"""Where points come from: the grid in order, or Optuna's samplers by ask and tell.

Either way the point ends in an Optuna study, told once with what its seeds count as, so that
optuna-dashboard shows it. The studies are a file beside the results.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import optuna
import pandas as pd
import sqlalchemy
import sqlalchemy.exc
from optuna.trial import FrozenTrial, Trial, TrialState

from kdray.core import fingerprint
from kdray.results import Results, Store
from kdray.results.points.objective import Numbers, Score
from kdray.results.schema import NOT_NEEDED
from kdray.robustness import label_of
from kdray.sweep.definition.read import Stratum, Sweep
from kdray.sweep.definition.samplers import AnyProposer, Grid
from kdray.sweep.definition.space import Distribution, Point, Space, walk
from kdray.sweep.search.parameters import OptunaParameters
from kdray.sweep.search.samplers import sampler_of

REPEATS = 200
"""So many suggestions in a row that are there already mean that the search space is used up."""
APART = ("repeats", "known")
"""User attributes of a study's trials that are no points of the search: suggested again, or told
because they are known."""


class SpaceUsedUp(UserWarning):
    """A search stops before it has tried as many points as it should: there are no more, or it
    finds no more."""


class PointResult(NamedTuple):
    """What became of a point."""

    numbers: Numbers
    """Of the seeds that were trained."""
    problem: str | None = None
    """Why it has failed."""
    given_up: str | None = None
    """Why it was given up before its end."""
    seen: tuple[int, float] | None = None
    """Of a point that lost a race: the seeds that it had, and their mean."""


Known = Callable[[Stratum], Iterable[tuple[Point, Numbers, bool]]]
"""Points of a stratum that the results hold completely, whichever sweep asked for them; and whether
this one did."""


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

    def tell(self, point: Point, verdict: PointResult) -> None:
        """What became of the point."""


def source_of(sweep: Sweep, store: Store, known: Known = lambda _: ()) -> PointSource:
    """The source that the sweep's sampler names."""
    strata = (Stratum({}, sweep.spaces),) if sweep.file.search.enumerates else sweep.strata
    studies = open_studies(store, sweep, strata, known)
    search = sweep.file.search
    if isinstance(search, Grid):
        return GridSource(sweep, studies[0])
    return Searches(
        [
            SearchSource(sweep, search, s.spaces, study, (i, len(strata)))
            for i, (s, study) in enumerate(zip(strata, studies, strict=True))
        ]
    )


def open_studies(
    store: Store, sweep: Sweep, strata: Sequence[Stratum], known: Known
) -> list[optuna.Study]:
    """A study for each stratum, in one file below the results, or in memory where those are on an
    object store.

    A study holds values of one description. Where the sweep has changed since, the study is begun
    anew; if only its space, seeds or objective changed, the points it knew come first, and cost
    nothing where their trials are there.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = (
        None if store.folder is None else _storage(store.folder / "studies" / f"{sweep.name}.db")
    )
    names = [f"{sweep.name} [{stratum}]" if stratum.fixed else sweep.name for stratum in strata]
    if storage is not None:
        for study in storage.get_all_studies():
            if study.study_name not in names:
                optuna.delete_study(study_name=study.study_name, storage=storage)
    return [
        _open_study(storage, name, store, sweep, s, known)
        for name, s in zip(names, strata, strict=True)
    ]


def _open_study(
    storage: optuna.storages.BaseStorage | None,
    name: str,
    store: Store,
    sweep: Sweep,
    stratum: Stratum,
    known: Known,
) -> optuna.Study:
    study, codec = _create(storage, name, sweep), OptunaParameters(stratum.spaces)
    before, now = study.user_attrs.get("description"), _description(sweep, stratum)
    asked = [trial.params for trial in _told(study)]
    if before is not None and before != now:
        assert storage is not None
        optuna.delete_study(study_name=name, storage=storage)
        study = _create(storage, name, sweep)
    if before != now and not sweep.file.search.enumerates:
        if before is None:
            asked = list(_lost(store, sweep, codec))
        else:
            base = (
                before["base"] if isinstance(before["base"], dict) else {}
            )  # a text, of before there were branches
            asked = [
                parameters for parameters in asked if _still(parameters, codec, base, now["base"])
            ]
        told = [
            (codec.parameters(point), point, numbers, own) for point, numbers, own in known(stratum)
        ]
        asked += [parameters for parameters, _, _, own in told if own and parameters not in asked]
        for parameters in asked:
            study.enqueue_trial(parameters, skip_if_exists=True)
        for parameters, point, numbers, _ in told:
            if parameters not in asked:
                _add(study, sweep, codec, point, PointResult(numbers), apart="known")
    for values in () if isinstance(sweep.file.search, Grid) else sweep.file.search.first:
        given = {path.removeprefix("experiment."): value for path, value in values.items()}
        if codec.fits(given):
            parameters = codec.given(given)
            if not any(parameters.items() <= other.items() for other in asked):
                study.enqueue_trial(parameters, skip_if_exists=True)
    study.set_user_attr("description", now)
    return study


def _still(
    parameters: Mapping[str, Any],
    codec: OptunaParameters,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
) -> bool:
    """Whether a point that was asked for is one of the space as it is now, of the same
    experiment."""
    point = codec.point(0, parameters)
    return point is not None and before.get(_where(point.space)) == now[_where(point.space)]


def _lost(store: Store, sweep: Sweep, codec: OptunaParameters) -> Iterable[dict[str, Any]]:
    """The points that a lost study had asked for, from the members table: their trials are there
    and cost nothing."""
    members = Results(store.location).members()
    mine = members[
        (members["sweep"] == sweep.name)
        & (members["role"] == "student")
        & (members["outcome"] != NOT_NEEDED)
    ]
    for _, row in mine.drop_duplicates(["case", "swept"]).sort_values("point").iterrows():
        parameters = codec.read(
            None if pd.isna(row["case"]) else row["case"], json.loads(row["swept"])
        )
        if parameters is not None:
            yield parameters


def _create(storage: optuna.storages.BaseStorage | None, name: str, sweep: Sweep) -> optuna.Study:
    objectives = sweep.file.aims.objectives
    directions: list[Literal["maximize", "minimize"]] = [
        "maximize" if objective.mode == "max" else "minimize" for objective in objectives
    ]
    return optuna.create_study(
        storage=storage, study_name=name, directions=directions, load_if_exists=True
    )


def _storage(path: Path) -> optuna.storages.BaseStorage:
    """The SQLite file at ``path``; a damaged one is put aside (it is made again from what the
    tables hold)."""
    path.parent.mkdir(exist_ok=True)
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    try:
        storage = _hurried(optuna.storages.RDBStorage(url))
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id, deepcopy=False)
        return storage
    except Exception as error:
        if not path.exists() or (
            isinstance(error, sqlalchemy.exc.OperationalError) and not _is_damage(error)
        ):
            raise OSError(f"{path}: {str(error).splitlines()[0]}") from None
        path.replace(path.with_suffix(".damaged"))
        warnings.warn(
            f"{path} is damaged ({str(error).splitlines()[0]}): put aside, begun anew", stacklevel=2
        )
        return _hurried(optuna.storages.RDBStorage(url))


def _is_damage(error: sqlalchemy.exc.OperationalError) -> bool:
    """Whether it is the file that is wrong, and not the disk, which is full or read-only."""
    name = str(error.orig.sqlite_errorname) if isinstance(error.orig, sqlite3.Error) else ""
    return not name.startswith(
        ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_BUSY")
    )


def _hurried(storage: optuna.storages.RDBStorage) -> optuna.storages.RDBStorage:
    """``storage``, which no longer waits for the disk: what a power cut takes is made again from
    the tables."""
    sqlalchemy.event.listen(
        storage.engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA synchronous=OFF"),
    )
    storage.engine.dispose()  # the connections that it has opened already
    return storage


def _description(sweep: Sweep, stratum: Stratum) -> dict[str, Any]:
    """What the values in a study depend on: the plain part of the experiment, and the rest."""
    base = {
        _where(space): json.dumps(
            [
                sweep.choices[space.case].model_dump(),
                *(
                    (path, "*" if isinstance(leaf, Distribution) else repr(leaf))
                    for path, leaf in walk(space.tree)
                ),
            ]
        )
        for space in stratum.spaces
    }
    ranges = [
        space.chosen | {path: repr(leaf) for path, leaf in space.distributions.items()}
        for space in stratum.spaces
    ]
    aims = sweep.file.aims
    compared = {metric.rpartition(".")[0] for metric in aims.metrics}
    measured = [
        fingerprint(evaluation)
        for evaluation in sweep.suite("student")
        if label_of(evaluation) in compared
    ]
    return {
        "base": base,
        "rest": json.dumps([ranges, sweep.file.seeds, aims.model_dump(), measured]),
    }


def _where(space: Space) -> str:
    """Which of the spaces it is."""
    return json.dumps([space.case, space.chosen])


def _told(study: optuna.Study) -> list[FrozenTrial]:
    """The points that were told, without the repeats."""
    ended = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
    return [
        t
        for t in study.get_trials(deepcopy=False, states=ended)
        if not any(name in t.user_attrs for name in APART)
    ]


class GridSource:
    """Every point of the space, in order."""

    fresh = False
    begun = ()

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._sweep, self._study, self._codec = sweep, study, OptunaParameters(sweep.spaces)
        self._points = sweep.grid()
        self._known = {(t.state, _key(t.params)) for t in _told(study)}

    def next(self) -> Point | None:
        return next(self._points, None)

    def tell(self, point: Point, verdict: PointResult) -> None:
        key = _key(self._codec.parameters(point))
        if (TrialState.COMPLETE, key) not in self._known and (
            _state(verdict),
            key,
        ) not in self._known:
            _add(self._study, self._sweep, self._codec, point, verdict)


class Searches:
    """Several searches, which give their points in turn."""

    def __init__(self, sources: Sequence[SearchSource]) -> None:
        self._turns = deque(sources)
        self._asked: dict[int, SearchSource] = {}

    @property
    def fresh(self) -> bool:
        return any(source.fresh for source in self._turns) and not self.begun

    @property
    def begun(self) -> Sequence[Point]:
        return [point for source in self._turns for point in source.begun]

    def next(self) -> Point | None:
        # What is known comes before what nobody has asked for.
        for source in sorted(self._turns, key=lambda source: not source.begun):
            if (point := source.next()) is not None:
                self._turns.remove(source)
                self._turns.append(source)
                self._asked[point.number] = source
                return point
        return None

    def tell(self, point: Point, verdict: PointResult) -> None:
        self._asked[point.number].tell(point, verdict)


class SearchSource:
    """One of Optuna's samplers over some spaces.

    The points that the study knows come first, so that seeds and evaluations that they lack are
    added; then those that a killed run left under way; then new ones.
    """

    def __init__(
        self,
        sweep: Sweep,
        search: AnyProposer,
        spaces: Sequence[Space],
        study: optuna.Study,
        place: tuple[int, int] = (0, 1),
    ) -> None:
        self._sweep, self._study, self._search, self._codec = (
            sweep,
            study,
            search,
            OptunaParameters(spaces),
        )
        self._index, self._count = place
        """Of how many searches it is which: their points are numbered in turn."""
        self._asked: dict[int, Trial] = {}
        self._worth: dict[str, Score | None] = {}
        """Of a point that has ended; none if it was given up."""
        self._taken: set[str] = set()
        self._first: deque[Point] = deque()
        self._exhausted = False
        study.sampler = self._sampler(0)
        for trial in _told(study):
            point = self._point(trial)
            if point is None:
                continue
            if _text(point) not in self._taken:
                self._take(point, self._first)
            if trial.state is TrialState.COMPLETE:  # it may have failed first
                violations = tuple(
                    trial.constraints[constraint] for constraint in sweep.file.constraints
                )
                self._worth[_text(point)] = Score(values=tuple(trial.values), violations=violations)
            elif trial.state is TrialState.PRUNED:
                self._worth.setdefault(_text(point), None)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            point = self._point(trial)
            if point is None or _text(point) in self._taken:
                study.tell(trial.number, state=TrialState.FAIL)
            else:
                self._take(point, self._first)
                self._asked[point.number] = Trial(study, trial._trial_id)

    @property
    def begun(self) -> Sequence[Point]:
        return tuple(self._first)

    @property
    def fresh(self) -> bool:
        wanted = min(self._search.points, self._codec.size)
        return not self._first and not self._exhausted and len(self._taken) < wanted

    def next(self) -> Point | None:
        if self._first:
            return self._first.popleft()
        if self._exhausted or len(self._taken) >= self._search.points:
            return None
        if len(self._taken) >= self._codec.size:
            self._used_up()
            return None
        for _ in range(REPEATS):
            trials = self._study.get_trials(deepcopy=False)
            waiting = (
                trial.number for trial in trials if trial.state is TrialState.WAITING
            )  # those come first
            self._study.sampler = self._sampler(next(waiting, len(trials)))
            trial = self._study.ask()
            point = self._codec.ask(trial, self._number(trial.number))
            if _text(point) not in self._taken:
                self._taken.add(_text(point))
                self._asked[point.number] = trial
                return point
            # A point that is there already costs nothing: what it is worth is told again, and the
            # search asks on.
            trial.set_user_attr("repeats", True)
            worth = self._worth.get(_text(point))
            if worth is not None:
                self._tell(trial, worth)
            else:
                self._study.tell(
                    trial,
                    state=TrialState.PRUNED if _text(point) in self._worth else TrialState.FAIL,
                )
        self._used_up()
        return None

    def tell(self, point: Point, verdict: PointResult) -> None:
        trial, state = self._asked.pop(point.number, None), _state(verdict)
        worth = (
            self._sweep.file.aims.worth(verdict.numbers) if state is TrialState.COMPLETE else None
        )
        if trial is not None:
            for name, attribute in _attributes(point, verdict).items():
                trial.set_user_attr(name, attribute)
            if worth is not None:
                self._tell(trial, worth)
            else:
                if verdict.seen is not None and len(self._sweep.file.aims.objectives) == 1:
                    step, value = verdict.seen
                    trial.report(value, step)
                self._study.tell(trial, state=state)
        elif state is not TrialState.FAIL and (
            _text(point) not in self._worth or (worth and not self._worth[_text(point)])
        ):
            _add(
                self._study, self._sweep, self._codec, point, verdict
            )  # it had failed or was given up, and was tried again
        if state is not TrialState.FAIL:
            self._worth[_text(point)] = worth

    def _tell(self, trial: Trial, worth: Score) -> None:
        for constraint, missed in _constraints(self._sweep, worth).items():
            trial.set_constraint(constraint, missed)
        self._study.tell(trial, list(worth.values))

    def _take(self, point: Point, into: deque[Point]) -> None:
        self._taken.add(_text(point))
        into.append(point)

    def _point(self, trial: FrozenTrial) -> Point | None:
        return self._codec.point(self._number(trial.number), trial.params)

    def _number(self, trial: int) -> int:
        return trial * self._count + self._index

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return sampler_of(self._search, self._number(number))

    def _used_up(self) -> None:
        self._exhausted = True
        warnings.warn(
            f"the search space is used up: {len(self._taken)} different points",
            SpaceUsedUp,
            stacklevel=3,
        )


def _state(verdict: PointResult) -> TrialState:
    if verdict.problem is not None:
        return TrialState.FAIL
    return TrialState.COMPLETE if verdict.given_up is None else TrialState.PRUNED


def _add(
    study: optuna.Study,
    sweep: Sweep,
    codec: OptunaParameters,
    point: Point,
    verdict: PointResult,
    *,
    apart: str | None = None,
) -> None:
    """Put a point that was not asked for into the study."""
    state = _state(verdict)
    worth = sweep.file.aims.worth(verdict.numbers) if state is TrialState.COMPLETE else None
    attributes = _attributes(point, verdict) | ({apart: True} if apart else {})
    seen = {verdict.seen[0]: verdict.seen[1]} if verdict.seen is not None else None
    study.add_trial(
        optuna.trial.create_trial(
            state=state,
            values=list(worth.values) if worth else None,
            params=codec.parameters(point),
            distributions=codec.distributions(point.space),
            user_attrs=attributes,
            intermediate_values=seen,
            constraints=_constraints(sweep, worth) if worth else None,
        )
    )


def _constraints(sweep: Sweep, worth: Score) -> dict[str, float]:
    """By how much each constraint is missed, as Optuna wants it: 0 or below where it is kept."""
    return dict(zip(sweep.file.constraints, worth.violations, strict=True))


def _key(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _text(point: Point) -> str:
    return json.dumps([point.space.case, point.values], sort_keys=True)


def _attributes(point: Point, verdict: PointResult) -> dict[str, Any]:
    """What the dashboard shows of a point beside its objective: every metric's mean over the
    seeds."""
    numbers, said = verdict.numbers, verdict.problem or verdict.given_up
    names = [
        name for name in (numbers[0] if numbers else {}) if all(name in each for each in numbers)
    ]
    means = {name: statistics.fmean(each[name] for each in numbers) for name in names}
    why = {"problem" if verdict.problem else "given up": said} if said else {}
    return {"case": point.space.case, "seeds": len(numbers), **means, **why}
