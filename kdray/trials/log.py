"""What a trial did and when, for people: a file of lines for each trial, as one would like to find
it when a trial failed."""

from __future__ import annotations

import faulthandler
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from io import FileIO
from time import perf_counter
from types import TracebackType
from typing import Self, TextIO, TypeVar

from kdray.core import describe
from kdray.results import Store

T = TypeVar("T")
LONGEST = 20_000
"""Characters of a traceback; of a longer one the end is kept, where the error is."""


def log_file(trial_id: str) -> str:
    return f"logs/{trial_id}.log"


class Log:
    """Lines with the time in UTC, added to those that earlier runs of the trial left.

    In a local folder each line is written as it is said, so that the log of a killed worker shows
    how far it came. An object store has no appending: there lines are kept in memory until
    :meth:`save` or the end of the block, and a killed worker's last ones are lost. A log that
    cannot be written harms nothing else.
    """

    def __init__(self, store: Store, trial_id: str) -> None:
        self._store, self._name = store, log_file(trial_id)
        self._file: FileIO | None = None
        self._unsaved = b""
        """On an object store."""

    def say(self, text: str) -> None:
        """One line."""
        self._add(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {' '.join(text.split())}\n")

    def failure(self, what: str, error: BaseException) -> None:
        """One line, and below it the traceback, indented."""
        self.say(f"{what}: {describe(error)}")
        lines = "".join(traceback.format_exception(error))[-LONGEST:].splitlines()
        self._add("".join(f"    {line}\n" for line in lines))

    def watching(self, items: Iterator[T]) -> Iterator[tuple[T, float]]:
        """Each item with the seconds that it took; what kdray warns of meanwhile is told, and a
        crash leaves its traceback."""
        while True:
            began = perf_counter()
            with _heard(self), nullcontext() if self._file is None else _crashing_into(self._file):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item, perf_counter() - began

    @contextmanager
    def no_longer_than(self, seconds: float | None) -> Iterator[None]:
        """Should the block last longer, the process ends at once, hanging or not, and leaves the
        traceback of every thread."""
        if seconds is None:
            yield
            return
        self.say(f"ends itself after {seconds:g} s")
        faulthandler.dump_traceback_later(
            seconds, exit=True, file=2 if self._file is None else self._file
        )
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def save(self) -> None:
        """Write what is still in memory."""
        if not self._unsaved:
            return
        with suppress(OSError):
            try:
                earlier = self._store.read(self._name)
            except FileNotFoundError:
                earlier = b""
            self._store.write(self._name, earlier + self._unsaved)
            self._unsaved = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):  # nobody asks for more
            self.say("stopped early")
        elif error is not None:
            self.failure("ended", error)
        self.save()
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _add(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if self._store.folder is None:
            self._unsaved += data
            return
        with suppress(OSError):
            if self._file is None:
                path = self._store.folder / self._name
                path.parent.mkdir(parents=True, exist_ok=True)
                # Without a buffer: nothing that could not be written is tried again when it is
                # closed.
                self._file = path.open("ab", buffering=0)
            self._file.write(data)


@contextmanager
def _heard(log: Log) -> Iterator[None]:
    """What kdray warns of goes into the log as well."""
    shown = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__module__.startswith("kdray"):
            log.say(f"warning: {message}")
        shown(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


@contextmanager
def _crashing_into(file: FileIO) -> Iterator[None]:
    """A fatal signal (segmentation fault, abort) leaves the traceback of every thread in
    ``file``."""
    before = faulthandler.is_enabled()
    faulthandler.enable(file)
    try:
        yield
    finally:
        if before:
            faulthandler.enable(
                2
            )  # standard error, its usual place: Python does not tell where it went
        else:
            faulthandler.disable()
