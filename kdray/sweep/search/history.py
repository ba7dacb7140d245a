"""What a search knows when it starts, from the results alone: the points that this sweep has asked
for, in the order in which it did, and those that other sweeps in the folder have completed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from kdray.core import InputError
from kdray.results import Results
from kdray.results.files.warn import DamagedFile, warn
from kdray.results.points.objective import Numbers
from kdray.sweep.definition.space import Point, Space, matches
from kdray.sweep.definition.trials import Stratum, Sweep
from kdray.sweep.inventory.other_sweeps import point_at, points_of_other_sweeps
from kdray.sweep.inventory.trials import TrialIndex
from kdray.trials.experiment import Experiment


class History(NamedTuple):
    """What one search knows when it starts."""

    asked: Sequence[Point] = ()
    """The points that the sweep has asked for, under the numbers that it gave them."""
    known: Sequence[tuple[Point, Numbers]] = ()
    """The points of other sweeps, with the numbers of every seed."""
    numbers: Collection[int] = ()
    """Every number that the sweep has given to a point, also to those that it no longer asks
    for."""


def points_asked(sweep: Sweep, index: TrialIndex, results: Results) -> Iterator[Point]:
    """The points that the sweep asks for: all of a grid; of a search, as far as its space has them
    now, those that it has asked for in the runs before."""
    if sweep.file.search.enumerates:
        yield from sweep.grid()
        return
    past = PastPoints(sweep, index, results)
    for stratum in sweep.strata:
        yield from past.asked_in(stratum).values()


class _Asked(NamedTuple):
    """A point that the sweep has asked for, as it stands in the results."""

    number: int
    case: str | None
    values: dict[str, Any]
    point_id: str


class PastPoints:
    """The points in a results folder, for the searches of one sweep.

    A point that was asked for is one of the sweep if it is the same experiment now, whatever has
    changed in the sweep's file. Those under way when a run was killed have no row yet; a note
    beside the sweep's objectives names them.
    """

    def __init__(self, sweep: Sweep, index: TrialIndex, results: Results) -> None:
        self._sweep, self._index, self._store = sweep, index, results.store
        members = results.members()
        mine = members[(members["sweep"] == sweep.name) & (members["role"] == "student")]
        noted = list(self._noted())
        self._asked = [*_asked(mine), *noted]
        trials = results.trials()
        own = trials["trial_id"].isin(mine["trial_id"])
        experiments = dict(zip(trials["trial_id"], trials["experiment"], strict=True))
        self._experiments = {
            point_id: experiments[trial_id]
            for point_id, trial_id in zip(mine["point_id"], mine["trial_id"], strict=True)
            if trial_id in experiments
        }
        """By point, that of one of its trials."""
        first = trials["seed"] == sweep.file.seed_numbers[0]
        complete = (trials["status"] == "completed") & first
        self._foreign: list[str] = trials.loc[complete & ~own, "experiment"].tolist()
        """Of one trial of every point of other sweeps."""
        self._unreadable: dict[str, str] = {}
        """By experiment that this kdray cannot read: why."""
        self._under_way = {each.number: each for each in noted}

    def of(self, stratum: Stratum) -> History:
        """The history of the search in ``stratum``."""
        points = self.asked_in(stratum)
        others = points_of_other_sweeps(self._sweep, self._index, stratum, self._others)
        known = [(point, numbers) for point, numbers in others if point.text not in points]
        return History(list(points.values()), known, {each.number for each in self._asked})

    @property
    def unreadable_text(self) -> str | None:
        """The line that says which of the points so far were skipped; none if none were."""
        if not self._unreadable:
            return None
        count, first = len(self._unreadable), next(iter(self._unreadable.values()))
        points, are = ("point", "is") if count == 1 else ("points", "are")
        return (
            f"{count} {points} in the results {are} not used by the search: what was trained "
            f"there cannot be read here ({first}); a plug-in may be missing"
        )

    @cached_property
    def _others(self) -> list[Experiment]:
        read = map(self._read, self._foreign)
        return [experiment for experiment in read if experiment is not None]

    def _read(self, text: str) -> Experiment | None:
        """An experiment from its row; none if a component of it is gone, or its plug-in is
        missing."""
        try:
            return Experiment.parse(json.loads(text))
        except InputError as error:
            self._unreadable[text] = str(error)
            return None

    def asked_in(self, stratum: Stratum) -> dict[str, Point]:
        """The points of ``stratum`` that the sweep has asked for, by their text: no more than its
        file asks for, those that were asked for first."""
        points: dict[str, Point] = {}
        for each in self._asked:
            if len(points) == self._sweep.file.search.count:
                break
            for point in self._points(stratum, each):
                points.setdefault(point.text, point)
        return points

    def note(self, point: Point) -> None:
        """Write down that the sweep has asked for ``point``, beside those under way."""
        self._under_way[point.number] = _Asked(
            point.number, point.space.case, point.values, self._sweep.point_id(point)
        )
        text = json.dumps([each._asdict() for each in self._under_way.values()])
        self._store.write(note_file(self._sweep.name), text.encode())

    def ended(self, point: Point) -> None:
        """Hear that ``point`` is no longer under way: its seeds have rows."""
        self._under_way.pop(point.number, None)

    def _points(self, stratum: Stratum, asked: _Asked) -> Iterator[Point]:
        """The point of ``stratum`` that was asked for, if it is one of it."""
        tree = None
        if asked.point_id in self._experiments:
            whole = self._read(self._experiments[asked.point_id])
            if whole is None:
                return
            tree = self._sweep.weights.with_paths(json.loads(whole.model_dump_json()))
        for space in sorted(stratum.spaces, key=lambda space: space.case != asked.case):
            point = _by_its_values(space, asked) if tree is None else point_at(space, tree)
            if point is not None and self._sweep.point_id(point) == asked.point_id:
                yield point._replace(number=asked.number)
                return

    def _noted(self) -> Iterator[_Asked]:
        """The points under way when the last run ended; none if the note is missing, or damaged,
        which is said."""
        name = note_file(self._sweep.name)
        try:
            for each in json.loads(self._store.read(name)):
                number, case, values, point_id = (each[field] for field in _Asked._fields)
                yield _Asked(int(number), case, dict(values), point_id)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            problem = "the points that were under way are not known from it"
            warn(f"{self._store.place}/{name}: damaged, left out ({problem})", DamagedFile)


def _by_its_values(space: Space, asked: _Asked) -> Point | None:
    """The point of ``space`` with the values of one whose trials have no row."""
    whole = asked.values.keys() == {*space.chosen, *space.distributions}
    if asked.case == space.case and whole and matches(space, asked.values):
        return Point(asked.number, space, asked.values)
    return None


def note_file(sweep: str) -> str:
    """The name within the results of the note of the points that a sweep has under way."""
    return f"sweeps/{sweep}.asked.json"


def _asked(members: pd.DataFrame) -> list[_Asked]:
    """The points in a sweep's rows of students, in the order of their numbers."""
    rows = members[["point", "case", "swept", "point_id"]].astype(object)
    rows = rows.where(rows.notna(), None).drop_duplicates().sort_values(["point", "point_id"])
    return [
        _Asked(int(number), case, json.loads(swept), point_id)
        for number, case, swept, point_id in rows.itertuples(index=False, name=None)
    ]
