"""Where points come from: the grid in order, or Optuna's samplers by ask and tell.

Either way the point ends in an Optuna study, told once with what its seeds count as, so that optuna-dashboard shows it. The
study is a file beside the results.
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
import pandas as pd
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from kdray.results import Results, Store
from kdray.results.points import NOT_NEEDED
from kdray.sweep.definition import Sweep
from kdray.sweep.samplers import sampler_of
from kdray.sweep.space import Distribution, Point, Space, walk

REPEATS = 200
"""So many suggestions in a row that are there already mean that the search space is used up."""


class SpaceUsedUp(UserWarning):
    """A search stops before it has tried as many points as it should: there are no more, or it finds no more."""


class Source(Protocol):
    """Gives points and hears of them."""

    def next(self) -> Point | None:
        """The next point to try; none when there are no more."""

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        """What the point's seeds gave, or why there is no such number."""


def open_study(store: Store, sweep: Sweep) -> optuna.Study:
    """The sweep's study: a file below the results, or in memory where those are on an object store.

    A study holds values of one description. Where the sweep has changed since, the study is begun anew; if only its space,
    seeds or objective changed, the points it knew come first, and cost nothing where their trials are there.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None if store.folder is None else _storage(store.folder / "studies" / f"{sweep.name}.db")
    study = _create(storage, sweep)
    before, now = study.user_attrs.get("description"), _description(sweep)
    if before is not None and before != now:
        known = [trial.params for trial in _told(study)] if before["base"] == now["base"] else []
        assert storage is not None
        optuna.delete_study(study_name=sweep.name, storage=storage)
        study = _create(storage, sweep)
        for parameters in known:
            if sweep.file.search.sampler != "grid" and _point(sweep, 0, parameters) is not None:
                study.enqueue_trial(parameters, skip_if_exists=True)
    if before is None and sweep.file.search.sampler != "grid":
        _enqueue_known(study, store, sweep)
    for values in sweep.file.search.first:
        study.enqueue_trial(_given(sweep, values), skip_if_exists=True)
    study.set_user_attr("description", now)
    return study


def _given(sweep: Sweep, values: Mapping[str, Any]) -> dict[str, Any]:
    """A point of which some values are given, as a study's parameters."""
    space = next((each for each in sweep.spaces if str(each.case) == values.get("case")), sweep.spaces[0])
    by_path = {path.removeprefix("experiment."): value for path, value in values.items()}
    given = {name: _encode(space.distributions[path], by_path[path])
             for name, path in _names(sweep, space).items() if path in by_path}  # fmt: skip
    return ({"case": str(space.case)} if len(sweep.spaces) > 1 else {}) | given


def _enqueue_known(study: optuna.Study, store: Store, sweep: Sweep) -> None:
    """The points that a lost study had asked for, from the members table: their trials are there and cost nothing."""
    members = Results(store.location).members()
    mine = members[
        (members["sweep"] == sweep.name) & (members["role"] == "student") & (members["outcome"] != NOT_NEEDED)
    ]
    for _, row in mine.drop_duplicates("point").sort_values("point").iterrows():
        space = next((s for s in sweep.spaces if s.case == (None if pd.isna(row["case"]) else row["case"])), None)
        values = json.loads(row["parameters"])
        if space is not None and values.keys() == space.distributions.keys():
            parameters = _parameters(sweep, Point(0, space, values))
            if _point(sweep, 0, parameters) is not None:
                study.enqueue_trial(parameters, skip_if_exists=True)


def _create(storage: optuna.storages.BaseStorage | None, sweep: Sweep) -> optuna.Study:
    direction: Literal["maximize", "minimize"] = "maximize" if sweep.file.objective.mode == "max" else "minimize"
    return optuna.create_study(storage=storage, study_name=sweep.name, direction=direction, load_if_exists=True)


def _storage(path: Path) -> optuna.storages.BaseStorage:
    """The SQLite file at ``path``; a damaged one is put aside (it is made again from what the tables hold)."""
    path.parent.mkdir(exist_ok=True)
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    try:
        storage = optuna.storages.RDBStorage(url)
        for study in storage.get_all_studies():
            storage.get_all_trials(study._study_id, deepcopy=False)
        return storage
    except Exception as error:
        if not path.exists():
            raise
        path.replace(path.with_suffix(".damaged"))
        warnings.warn(f"{path} is damaged ({str(error).splitlines()[0]}): put aside, begun anew", stacklevel=2)
        return optuna.storages.RDBStorage(url)


def _description(sweep: Sweep) -> dict[str, Any]:
    """What the values in a study depend on: the plain part of the experiment, and the rest."""
    base = [{path: "*" if isinstance(leaf, Distribution) else repr(leaf) for path, leaf in walk(space.tree)}
            for space in sweep.spaces]  # fmt: skip
    ranges = [{path: repr(leaf) for path, leaf in space.distributions.items()} for space in sweep.spaces]
    rest = [sweep.file.seeds, sweep.file.objective.model_dump(), [choice.model_dump() for choice in sweep.choices]]
    return {"base": json.dumps(base), "rest": json.dumps([ranges, rest])}


def _told(study: optuna.Study) -> list[FrozenTrial]:
    """The points that were told, without the repeats."""
    ended = (TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED)
    return [t for t in study.get_trials(deepcopy=False) if t.state in ended and "repeats" not in t.user_attrs]


class GridSource:
    """Every point of the space, in order."""

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._sweep, self._study = sweep, study
        self._points = sweep.grid()
        self._known = {(t.state, _key(t.params)) for t in _told(study)}

    def next(self) -> Point | None:
        return next(self._points, None)

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        key = _key(_parameters(self._sweep, point))
        told = (TrialState.COMPLETE, key) in self._known or (
            problem is not None and (TrialState.FAIL, key) in self._known
        )
        if not told:
            _add(self._study, self._sweep, point, numbers, problem)


class OptunaSource:
    """One of Optuna's samplers over the space; the case is one of its parameters.

    The points that the study knows come first, so that seeds and evaluations that they lack are added; then those that a
    killed run left under way; then new ones.
    """

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._sweep, self._study, self._search = sweep, study, sweep.file.search
        self._objective = sweep.file.objective
        self._asked: dict[int, Trial] = {}
        self._values: dict[str, float] = {}
        self._taken: set[str] = set()
        self._first: deque[Point] = deque()
        self._exhausted = False
        self._size = sum(math.prod(leaf.count or math.inf for leaf in s.distributions.values()) for s in sweep.spaces)
        """How many points there are at all."""
        for trial in _told(study):
            point = _point(sweep, trial.number, trial.params)
            if point is None:
                continue
            if _text(point) not in self._taken:
                self._take(point, self._first)
            if trial.value is not None:  # it may have failed first
                self._values[_text(point)] = trial.value
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            point = _point(sweep, trial.number, trial.params)
            if point is None or _text(point) in self._taken:
                study.tell(trial.number, state=TrialState.FAIL)
            else:
                self._take(point, self._first)
                self._asked[point.number] = Trial(study, trial._trial_id)

    def _take(self, point: Point, into: deque[Point]) -> None:
        self._taken.add(_text(point))
        into.append(point)

    def next(self) -> Point | None:
        if self._first:
            return self._first.popleft()
        if self._exhausted:
            return None
        if len(self._taken) >= (self._search.points or 0):
            return None
        if len(self._taken) >= self._size:
            self._used_up()
            return None
        for _ in range(REPEATS):
            trial = self._ask()
            point = _point(self._sweep, trial.number, trial.params)
            assert point is not None
            if _text(point) not in self._taken:
                self._taken.add(_text(point))
                self._asked[point.number] = trial
                return point
            # A point that is there already costs nothing: its value is told again, and the search asks on.
            trial.set_user_attr("repeats", True)
            value = self._values.get(_text(point))
            self._study.tell(trial, value, TrialState.FAIL if value is None else None)
        self._used_up()
        return None

    def _used_up(self) -> None:
        self._exhausted = True
        warnings.warn(f"the search space is used up: {len(self._taken)} different points", SpaceUsedUp, stacklevel=3)

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        trial = self._asked.pop(point.number, None)
        value = None if problem else self._objective.of(numbers)
        if trial is not None:
            for name, attribute in _attributes(point, numbers, problem).items():
                trial.set_user_attr(name, attribute)
            self._study.tell(trial, value, TrialState.FAIL if problem else None)
        elif value is not None and _text(point) not in self._values:
            _add(self._study, self._sweep, point, numbers, problem)  # it had failed, and was tried again
        if value is not None:
            self._values[_text(point)] = value

    def _ask(self) -> Trial:
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = sampler_of(self._search, number)
        trial = self._study.ask()
        space = self._sweep.spaces[0]
        if len(self._sweep.spaces) > 1:
            name = trial.suggest_categorical("case", [str(each.case) for each in self._sweep.spaces])
            space = next(each for each in self._sweep.spaces if each.case == name)
        for name, distribution in _distributions(self._sweep, space).items():
            _suggest(trial, name, distribution)
        return trial


def _add(
    study: optuna.Study, sweep: Sweep, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None
) -> None:  # fmt: skip
    """Put a point that was not asked for into the study."""
    value = None if problem else sweep.file.objective.of(numbers)
    study.add_trial(optuna.trial.create_trial(
        state=TrialState.FAIL if problem else TrialState.COMPLETE, value=value, params=_parameters(sweep, point),
        distributions=_distributions(sweep, point.space, case=True), user_attrs=_attributes(point, numbers, problem),
    ))  # fmt: skip


def _qualified(sweep: Sweep) -> frozenset[str]:
    """Paths whose distribution differs between cases: their parameter carries the case's name."""
    found: dict[str, Distribution] = {}
    differing: set[str] = set()
    for space in sweep.spaces:
        for path, leaf in space.distributions.items():
            if found.setdefault(path, leaf) != leaf:
                differing.add(path)
    return frozenset(differing)


def _point(sweep: Sweep, number: int, parameters: Mapping[str, Any]) -> Point | None:
    """The point that a study's parameters stand for; none if they are not of this space."""
    spaces = {str(space.case): space for space in sweep.spaces}
    space = spaces.get(parameters["case"]) if "case" in parameters else sweep.spaces[0]
    if space is None:
        return None
    values: dict[str, Any] = {}
    for name, path in _names(sweep, space).items():
        try:
            values[path] = _decode(space.distributions[path], parameters[name])
        except KeyError:
            return None
    return Point(number, space, values)


def _names(sweep: Sweep, space: Space) -> dict[str, str]:
    """Parameter name in the study to path."""
    qualified = _qualified(sweep)
    return {f"{path} ({space.case})" if path in qualified else path: path for path in space.distributions}


def _distributions(sweep: Sweep, space: Space, *, case: bool = False) -> dict[str, BaseDistribution]:
    """Parameter name to distribution, with the ``case`` if there are several."""
    cases = {"case": CategoricalDistribution([str(each.case) for each in sweep.spaces])}
    return (cases if case and len(sweep.spaces) > 1 else {}) | {
        name: _optuna(space.distributions[path]) for name, path in _names(sweep, space).items()
    }


def _parameters(sweep: Sweep, point: Point) -> dict[str, Any]:
    """A point as a study's parameters."""
    return ({"case": str(point.space.case)} if len(sweep.spaces) > 1 else {}) | {
        name: _encode(point.space.distributions[path], point.values[path])
        for name, path in _names(sweep, point.space).items()
    }


def _optuna(leaf: Distribution) -> BaseDistribution:
    match leaf.kind:
        case "grid" | "choice":
            return CategoricalDistribution([_label(value) for value in leaf.arguments])
        case "uniform" | "loguniform":
            low, high = leaf.arguments
            return FloatDistribution(low, high, log=leaf.kind == "loguniform")
        case "quniform":
            low, high = leaf.edges
            return FloatDistribution(low, high, step=leaf.arguments[2])
        case "randint" | "lograndint":
            return IntDistribution(leaf.arguments[0], leaf.arguments[1] - 1, log=leaf.kind == "lograndint")


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    match distribution:
        case CategoricalDistribution():
            trial.suggest_categorical(name, distribution.choices)
        case FloatDistribution():
            low, high = distribution.low, distribution.high
            if distribution.step is None:
                trial.suggest_float(name, low, high, log=distribution.log)
            else:
                trial.suggest_float(name, low, high, step=distribution.step)
        case IntDistribution():
            trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)


def _label(value: Any) -> Any:
    """A value as Optuna stores a choice: itself where it may, else its JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def _encode(leaf: Distribution, value: Any) -> Any:
    return _label(value) if leaf.kind in ("grid", "choice") else value


def _decode(leaf: Distribution, stored: Any) -> Any:
    if leaf.kind in ("grid", "choice"):
        for value in leaf.arguments:
            if _label(value) == stored and type(_label(value)) is type(stored):
                return value
        raise KeyError(stored)
    low, high = leaf.edges
    if not low <= stored <= high:
        raise KeyError(stored)
    return leaf.value(round((stored - low) / leaf.arguments[2])) if leaf.kind == "quniform" else stored


def _key(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _text(point: Point) -> str:
    return json.dumps([point.space.case, point.values], sort_keys=True)


def _attributes(point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> dict[str, Any]:
    """What the dashboard shows of a point beside its objective: every metric's mean over the seeds."""
    names = [name for name in (numbers[0] if numbers else {}) if all(name in each for each in numbers)]
    means = {name: statistics.fmean(each[name] for each in numbers) for name in names}
    return {"case": point.space.case, "seeds": len(numbers), **means} | ({"problem": problem} if problem else {})


def source_of(sweep: Sweep, study: optuna.Study) -> Source:
    """The source that the sweep's sampler names."""
    return GridSource(sweep, study) if sweep.file.search.sampler == "grid" else OptunaSource(sweep, study)
