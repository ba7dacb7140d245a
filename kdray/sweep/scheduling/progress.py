"""How a sweep is doing, on stderr: live on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kdray.core.wording import duration, value_text
from kdray.results import Store

EVERY = 15.0
"""Seconds between two lines of a log."""


class Progress:
    """Counts trials and their steps and shows them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._phase = ""
        self._planned: int | None = None
        self._there: Sized = ()
        self._done = self._failed = 0
        self._running: dict[str, tuple[float, str]] = {}
        """By trial: share done, and what it does."""
        self._best: tuple[float, str] | None = None
        self._objective: tuple[str, str] | None = None
        self._began = self._said = self._published = time.monotonic()
        self._publish: tuple[Store, str] | None = None

    def publish(self, store: Store, sweep: str) -> None:
        """From now on keep the line where ``kdray status`` finds it."""
        if store.folder is None:
            # nobody could tell there whether the sweep runs, and an object store may keep the
            # driver waiting
            return
        self._publish = (store, sweep)
        with suppress(OSError):
            store.delete(progress_file(sweep))  # of the run before

    def aim(self, metric: str, mode: str) -> None:
        """From now on show the best point by ``metric``."""
        self._objective, self._best = (metric, mode), None

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A line that stays and asks for attention."""
        self._console.print(Text(f"warning: {text}", style="yellow"))

    @contextmanager
    def phase(self, name: str, *, planned: int | None, there: Sized = ()) -> Iterator[None]:
        """Show progress inside the block. ``planned`` trials have to run, those in ``there`` are in
        the results already."""
        self._phase, self._planned, self._there = name, planned, there
        self._done = self._failed = 0
        self._running = {}
        self._began = self._said = time.monotonic()
        if self._console.is_terminal:
            with Live(
                get_renderable=self._renderable,
                console=self._console,
                refresh_per_second=4,
                transient=True,
            ):
                yield
        else:
            yield
        if self._done or self._failed:
            self.say(self._line(final=True))

    def started(self, trial_id: str) -> None:
        self._running[trial_id] = (0.0, "starting")
        self._tick()

    def stepped(self, trial_id: str, share: float, text: str) -> None:
        self._running[trial_id] = (share, text)
        self._tick()

    def ended(self, trial_id: str, *, failed: bool) -> None:
        self._running.pop(trial_id, None)
        self._failed += failed
        self._done += not failed
        self._tick()

    def point(self, value: float, parameters: Mapping[str, object]) -> None:
        """A point is complete; the best so far is shown."""
        better = self._best is None or (
            value > self._best[0]
            if self._objective and self._objective[1] == "max"
            else value < self._best[0]
        )
        if better:
            self._best = (
                value,
                " ".join(
                    f"{name.rpartition('.')[2]}={value_text(v)}" for name, v in parameters.items()
                ),
            )

    def _tick(self) -> None:
        if self._publish is not None and time.monotonic() - self._published >= 1:
            self._published = time.monotonic()
            store, sweep = self._publish
            with suppress(OSError):  # the results are more important than a line about them
                store.write(progress_file(sweep), self._line().encode())
        if not self._console.is_terminal and time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            self.say(self._line())

    def _renderable(self) -> Text:
        doing = [
            f"\n  {trial_id}  {text}" for trial_id, (_, text) in sorted(self._running.items())[:8]
        ]
        return Text(self._line() + "".join(doing))

    def _line(self, *, final: bool = False) -> str:
        elapsed = time.monotonic() - self._began
        parts = [f"{self._done} done"]
        if self._failed:
            parts.append(f"{self._failed} failed")
        if not final:
            parts.append(f"{len(self._running)} running")
            if self._planned is not None:
                parts.append(
                    f"{max(0, self._planned - self._done - self._failed - len(self._running))} left"
                )
        if self._there:
            parts.append(f"{len(self._there)} there already")
        line = f"{self._phase}: {', '.join(parts)}"
        if self._best is not None and self._objective is not None:
            line += (
                f" | best {self._objective[0]} "
                f"{self._best[0]:.4f}{f' ({self._best[1]})' if self._best[1] else ''}"
            )
        line += f" | {duration(elapsed)}"
        left = None if final else self._left(elapsed)
        return line + (f", about {duration(left)} left" if left is not None else "")

    def _left(self, elapsed: float) -> float | None:
        """Seconds left, if the trials to come take as long as those that ran."""
        worked = self._done + self._failed + sum(share for share, _ in self._running.values())
        if self._planned is None or worked < 0.5:
            return None
        return elapsed / worked * max(0.0, self._planned - worked)


def progress_file(sweep: str) -> str:
    """Where a running sweep says how it is doing."""
    return f"locks/{sweep}.progress"
