"""The studies of a sweep as a SQLite file below the results, for optuna-dashboard.

kdray writes it and never reads it. A run that has nothing new to show leaves it; else it is written
anew, as it is where it is missing, damaged or left by another version, and every point is added as
it ends; where points end faster than they can be added, the rest when the sweep has ended. That it
cannot be written is a warning, once, and ends no sweep.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import optuna
from optuna.trial import FrozenTrial

from kdray.core import describe
from kdray.results import Store
from kdray.results.points.objective import Objectives
from kdray.sweep.search.point_result import new_study

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

MAX_SHARE = 0.05
"""So much of the time of a run is spent on adding points, while trials wait for the driver: Optuna
takes 10 to 40 ms for one."""


class _Row(NamedTuple):
    """A trial, and the name of the study that it is to stand in; none: only the study."""

    study: str
    trial: FrozenTrial | None

    @property
    def digest(self) -> str:
        """Tells it from rows of another content."""
        trial = self.trial
        parts: list[Any] = [self.study]
        if trial is not None:
            parts += [trial.state.name, trial.values, trial.params, trial.user_attrs]
            parts += [str(trial.distributions), trial.intermediate_values, trial.constraints]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Mirror:
    """Writes what it is told; as a context, until the sweep has ended."""

    def __init__(
        self,
        store: Store,
        sweep: str,
        objectives: Objectives,
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        self._objectives, self._warn = objectives, warn
        self._path = None if store.folder is None else store.folder / "studies" / f"{sweep}.db"
        self._storage: RDBStorage | None = None
        self._studies: dict[str, optuna.Study] = {}
        self._rows: list[_Row] = []
        """Those that the file holds already, as far as can be said without reading it."""
        self._waiting: deque[_Row] = deque()
        """Those that are to be added yet."""
        self._next = 0.0
        """When one of them may be."""
        self._written: set[str] = set()
        self._missing = self._stamped()
        """Of what was written by an earlier run, what this one has not told yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._harmless():
            if self._storage is None and self._missing and error is None:
                self._begin(anew=True)
            if self._storage is not None:
                while self._waiting and error is None:
                    self._add(self._waiting.popleft())
                self._close()

    def begin(self, study: str) -> None:
        """Show the study, though it may be empty yet."""
        self._tell(_Row(study, None))

    def tell(self, study: str, trial: FrozenTrial) -> None:
        """Show a point that has ended."""
        self._tell(_Row(study, trial))

    def _tell(self, row: _Row) -> None:
        if self._path is None:
            return
        with self._harmless():
            if self._storage is None and row.digest in self._missing:
                self._missing.remove(row.digest)
                self._rows.append(row)
                return
            if self._storage is None:
                self._begin(anew=bool(self._missing) or not self._rows)
            self._waiting.append(row)
            while self._waiting and monotonic() >= self._next:
                began = monotonic()
                self._add(self._waiting.popleft())
                self._next = monotonic() + (monotonic() - began) * (1 / MAX_SHARE - 1)

    def _begin(self, *, anew: bool) -> None:
        """Open the file, empty and to get the rows so far if it is written ``anew``."""
        assert self._path is not None
        if anew:
            self._path.unlink(missing_ok=True)
            self._waiting.extend(self._rows)
        else:
            self._written.update(row.digest for row in self._rows)
        self._storage = _opened(self._path)

    def _add(self, row: _Row) -> None:
        if row.study not in self._studies:
            self._studies[row.study] = new_study(self._objectives, row.study, self._storage)
        if row.trial is not None:
            self._studies[row.study].add_trial(row.trial)
        self._written.add(row.digest)

    def _close(self) -> None:
        """Close the file, and note what it holds and how it looks from outside."""
        assert self._path is not None
        assert self._storage is not None
        self._storage.remove_session()
        self._storage.engine.dispose()
        stamp = {"rows": sorted(self._written), "file": _looks(self._path)}
        _stamp_of(self._path).write_text(json.dumps(stamp))

    def _stamped(self) -> set[str]:
        """What the file holds by the note of the run that wrote it; nothing where the file has been
        touched since."""
        if self._path is None:
            return set()
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stamp = json.loads(_stamp_of(self._path).read_text())
            if stamp["file"] == _looks(self._path):
                return set(stamp["rows"])
        return set()

    @contextlib.contextmanager
    def _harmless(self) -> Any:
        """Whatever goes wrong inside is told once, and nothing more is written."""
        try:
            yield
        except Exception as error:
            reason = describe(error.__cause__ or error)
            self._warn(f"{self._path}, for optuna-dashboard only, cannot be written: {reason}")
            self._path = self._storage = None


def _looks(path: Path) -> list[int]:
    """Size and time of a file, by which a change is seen from outside."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _stamp_of(path: Path) -> Path:
    return path.with_suffix(".written")


def _opened(path: Path) -> RDBStorage:
    """An SQLite file that does not wait for the disk: what a power cut takes is written anew."""
    import sqlalchemy  # half a second, and only where there is something to write

    path.parent.mkdir(exist_ok=True)
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    storage = optuna.storages.RDBStorage(url)

    def hurry(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")

    sqlalchemy.event.listen(storage.engine, "connect", hurry)
    storage.engine.dispose()  # the connections that it has opened already
    return storage
