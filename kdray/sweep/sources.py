"""Where points come from: the grid in order, or Optuna's samplers by ask and tell.

Either way the point ends in an Optuna study, told once with the mean over its seeds, so that optuna-dashboard shows it. The
study is a file beside the results. Samplers are seeded anew for every point from (search seed, number of the point), which
makes a continued search draw what the uninterrupted one would have drawn from the same history.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState

from kdray import seeds
from kdray.results import Store
from kdray.sweep.definition import Sweep
from kdray.sweep.space import Distribution, Point, Space

REPEATS = 200
"""So many suggestions in a row that are there already mean that the search space is used up."""


class Source(Protocol):
    """Gives points and hears of them."""

    def next(self) -> Point | None:
        """The next point to try; none when there are no more."""

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        """What the point's seeds gave, or why there is no such number."""


def open_study(store: Store, sweep: Sweep) -> optuna.Study:
    """The sweep's study: a file below the results, or in memory where those are on an object store."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction: Literal["maximize", "minimize"] = "maximize" if sweep.file.objective.mode == "max" else "minimize"
    if store.folder is None:
        return optuna.create_study(study_name=sweep.name, direction=direction)
    (store.folder / "studies").mkdir(exist_ok=True)
    path = store.folder / "studies" / f"{sweep.name}.db"
    for attempt in (1, 2):
        try:
            study = optuna.create_study(
                storage=f"sqlite:///{path}", study_name=sweep.name, direction=direction, load_if_exists=True
            )
            study.get_trials(deepcopy=False)
            return study
        except Exception as error:
            # It can be rebuilt from the tables, so a damaged one is put aside and never in the way.
            if attempt == 2:
                raise
            path.replace(path.with_suffix(".damaged"))
            warnings.warn(f"{path} is damaged ({str(error).splitlines()[0]}): put aside, begun anew", stacklevel=2)
    raise AssertionError


class GridSource:
    """Every point of the space, in order."""

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._points = sweep.grid()
        self._objective = sweep.file.objective.metric
        self._study = study
        self._told = {_key(trial) for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE}

    def next(self) -> Point | None:
        return next(self._points, None)

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        distributions = _distributions(point.space)
        parameters = {name: _encode(distributions[name], point.values[name]) for name in distributions}
        if (point.space.case, json.dumps(parameters, sort_keys=True)) in self._told and problem is None:
            return
        value = None if problem else statistics.fmean(each[self._objective] for each in numbers)
        self._study.add_trial(optuna.trial.create_trial(
            state=TrialState.FAIL if problem else TrialState.COMPLETE, value=value, params=parameters,
            distributions=distributions, user_attrs=_attributes(point, numbers, problem),
        ))  # fmt: skip


class OptunaSource:
    """Optuna's random or TPE sampler over the space; the case is one of its parameters."""

    def __init__(self, sweep: Sweep, study: optuna.Study) -> None:
        self._sweep, self._study, self._search = sweep, study, sweep.file.search
        self._objective = sweep.file.objective.metric
        self._asked: dict[int, Trial] = {}
        self._resumed: list[tuple[Point, Trial]] = []
        self._values: dict[str, float] = {}
        self._taken: set[str] = set()
        for trial in study.get_trials(deepcopy=False):
            self._take_over(trial)

    def _take_over(self, trial: FrozenTrial) -> None:
        """Count a point of an earlier run, or take it up again if it was under way."""
        point = self._point(trial.number, trial.params)
        if trial.state in (TrialState.RUNNING, TrialState.WAITING):
            if point is None:
                self._study.tell(trial.number, state=TrialState.FAIL)
            else:
                self._resumed.append((point, Trial(self._study, trial._trial_id)))
                self._taken.add(_text(point))
        elif point is not None and "repeats" not in trial.user_attrs:
            self._taken.add(_text(point))
            if trial.value is not None:
                self._values[_text(point)] = trial.value

    def next(self) -> Point | None:
        if self._resumed:
            resumed, under_way = self._resumed.pop(0)
            self._asked[resumed.number] = under_way
            return resumed
        if len(self._taken) >= (self._search.points or 0):
            return None
        for _ in range(REPEATS):
            trial = self._ask()
            point = self._point(trial.number, trial.params)
            assert point is not None
            if _text(point) not in self._taken:
                self._taken.add(_text(point))
                self._asked[point.number] = trial
                return point
            # A point that is there already costs nothing: its value is told again, and the search asks on.
            trial.set_user_attr("repeats", True)
            value = self._values.get(_text(point))
            self._study.tell(trial, value, TrialState.FAIL if value is None else None)
        warnings.warn(f"the search space is used up: {len(self._taken)} different points", stacklevel=2)
        return None

    def tell(self, point: Point, numbers: Sequence[Mapping[str, float]], problem: str | None) -> None:
        trial = self._asked.pop(point.number)
        for name, value in _attributes(point, numbers, problem).items():
            trial.set_user_attr(name, value)
        if problem is not None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        value = statistics.fmean(each[self._objective] for each in numbers)
        self._values[_text(point)] = value
        self._study.tell(trial, value)

    def _ask(self) -> Trial:
        number = len(self._study.get_trials(deepcopy=False))
        seed = seeds.stream_seed(self._search.seed, "search", number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = (
                optuna.samplers.RandomSampler(seed)
                if self._search.sampler == "random"
                else optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._search.startup)
            )
        trial = self._study.ask()
        space = self._sweep.spaces[0]
        if len(self._sweep.spaces) > 1:
            name = trial.suggest_categorical("case", [str(each.case) for each in self._sweep.spaces])
            space = next(each for each in self._sweep.spaces if each.case == name)
        for name, distribution in _distributions(space, qualified=self._qualified()).items():
            _suggest(trial, name, distribution)
        return trial

    def _qualified(self) -> frozenset[str]:
        """Paths whose distribution differs between cases: their parameter carries the case's name."""
        found: dict[str, Distribution] = {}
        differing: set[str] = set()
        for space in self._sweep.spaces:
            for path, leaf in space.distributions.items():
                if found.setdefault(path, leaf) != leaf:
                    differing.add(path)
        return frozenset(differing)

    def _point(self, number: int, parameters: Mapping[str, Any]) -> Point | None:
        """The point that a study's parameters stand for; none if they are not of this space."""
        spaces = {str(space.case): space for space in self._sweep.spaces}
        space = spaces.get(parameters["case"]) if "case" in parameters else self._sweep.spaces[0]
        if space is None:
            return None
        values: dict[str, Any] = {}
        for name, path in _names(space, self._qualified()).items():
            if name not in parameters:
                return None
            try:
                values[path] = _decode(space.distributions[path], parameters[name])
            except KeyError:
                return None
        return Point(number, space, values)


def _names(space: Space, qualified: frozenset[str]) -> dict[str, str]:
    """Parameter name in the study to path."""
    return {f"{path} ({space.case})" if path in qualified else path: path for path in space.distributions}


def _distributions(space: Space, qualified: frozenset[str] = frozenset()) -> dict[str, BaseDistribution]:
    return {name: _optuna(space.distributions[path]) for name, path in _names(space, qualified).items()}


def _optuna(leaf: Distribution) -> BaseDistribution:
    match leaf.kind:
        case "grid" | "choice":
            return CategoricalDistribution([_label(value) for value in leaf.arguments])
        case "uniform" | "loguniform":
            low, high = leaf.arguments
            return FloatDistribution(low, high, log=leaf.kind == "loguniform")
        case "quniform":
            assert leaf.finite is not None
            return FloatDistribution(leaf.finite[0], leaf.finite[-1], step=leaf.arguments[2])
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


def _encode(distribution: BaseDistribution, value: Any) -> Any:
    return _label(value) if isinstance(distribution, CategoricalDistribution) else value


def _decode(leaf: Distribution, stored: Any) -> Any:
    if leaf.kind in ("grid", "choice"):
        for value in leaf.arguments:
            if _label(value) == stored and type(_label(value)) is type(stored):
                return value
        raise KeyError(stored)
    low, high = leaf.edges
    if not low <= stored <= high:
        raise KeyError(stored)
    return stored


def _key(trial: FrozenTrial) -> tuple[str | None, str]:
    return trial.user_attrs.get("case"), json.dumps(trial.params, sort_keys=True)


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
