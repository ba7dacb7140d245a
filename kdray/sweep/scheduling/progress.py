"""How a sweep is doing, on stderr: live on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kdray.core.wording import duration, short_paths, value_text
from kdray.results import Store
from kdray.results.metrics import Mode
from kdray.results.points.objective import is_better

LOG_SECONDS = 15.0
"""Time between two lines of a log."""
PUBLISH_SECONDS = 1.0
"""Time between two writes of the line that ``kdray status`` reads."""
MAX_RUNNING_LINES = 8
MIN_NAME_WIDTH = 10
"""Columns of a terminal that the name of a running trial keeps, however little room there is."""
SUMMARY_LINES = 4
"""Lines of a terminal that are not for running trials: bar, counts, best point, cursor."""

Ending = Literal["done", "pruned", "failed"]
"""How a trial has ended; pruned: it was stopped early, or given up before it had begun."""


class QuietConsole(Console):
    """A console that falls silent when whoever read it has left; what writes to it goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


@dataclass
class RunningTrial:
    """What is known of a trial that runs."""

    name: str
    """Its point and seed, for people."""
    share: float = 0.0
    """Of its steps, those done."""
    text: str = "starting"
    """The last step that it has done: "epoch 3/20", "pgd20"."""
    val_accuracy: float | None = None
    """After its latest epoch."""

    @property
    def state(self) -> str:
        """Return the stage, the epoch and the latest validation accuracy, as far as known."""
        accuracy = self.val_accuracy
        return self.text if accuracy is None else f"{self.text}  val {accuracy:.3f}"


class Progress:
    """Counts the trials of a phase and shows them: each trial once, however often it is run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = QuietConsole(file=stream or sys.stderr, highlight=False)
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._phase = ""
        self._planned: int | None = None
        self._cached: Sized = ()
        self._ended: dict[str, Ending] = {}
        self._running: dict[str, RunningTrial] = {}
        self._names: dict[str, str] = {}
        """By trial: kept for when it is measured without its place in the sweep."""
        self._best: dict[str, tuple[float, str]] = {}
        """By data set: value and point."""
        self._objective: tuple[str, Mode] | None = None
        self._began = self._logged = self._published = time.monotonic()
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

    def aim(self, metric: str, mode: Mode) -> None:
        """From now on show the best point by ``metric``."""
        self._objective, self._best = (metric, mode), {}

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._print(Text(text))

    def warn(self, text: str) -> None:
        """Print a line that stays and asks for attention."""
        self._print(Text(f"warning: {text}", style="yellow"))

    @contextmanager
    def phase(self, name: str, *, planned: int | None, there: Sized = ()) -> Iterator[None]:
        """Show progress inside the block. ``planned`` trials have to run, those in ``there`` are in
        the results already."""
        self._phase, self._planned, self._cached = name, planned, there
        self._ended, self._running = {}, {}
        self._began = self._logged = time.monotonic()
        if self._live:
            with Live(
                get_renderable=self._renderable,
                console=self._console,
                refresh_per_second=4,
                transient=True,
            ):
                yield
        else:
            yield
        if self._ended:
            self.say(self._line(final=True))

    def started(self, trial_id: str, name: str | None = None) -> None:
        """A trial was given out, for the first time or once more. ``name``: see
        :func:`trial_name`."""
        self._ended.pop(trial_id, None)
        if name is not None:
            self._names[trial_id] = name
        self._running[trial_id] = RunningTrial(self._names.get(trial_id, trial_id))
        self._tick()

    def stepped(
        self, trial_id: str, share: float, text: str, val_accuracy: float | None = None
    ) -> None:
        """A running trial has done ``share`` of its steps, the last of which is ``text``."""
        trial = self._running.setdefault(trial_id, RunningTrial(trial_id))
        trial.share, trial.text = share, text
        trial.val_accuracy = trial.val_accuracy if val_accuracy is None else val_accuracy
        self._tick()

    def ended(self, trial_id: str, ending: Ending) -> None:
        """A trial has ended, or is given up before it has begun."""
        self._running.pop(trial_id, None)
        self._ended[trial_id] = ending
        self._tick()

    def point(self, value: float, parameters: Mapping[str, object], data_set: str = "") -> None:
        """A point is complete; the best so far of each data set is shown."""
        known = self._best.get(data_set)
        mode = self._objective[1] if self._objective else "max"
        if known is None or is_better(value, known[0], mode):
            self._best[data_set] = (value, swept_text(parameters))

    def _print(self, text: Text) -> None:
        with suppress(OSError):  # a log on a full disk: the results are more important
            self._console.print(text, soft_wrap=True)

    def _tick(self) -> None:
        now = time.monotonic()
        if self._publish is not None and now - self._published >= PUBLISH_SECONDS:
            self._published = now
            store, sweep = self._publish
            with suppress(OSError):  # the results are more important than a line about them
                store.write(progress_file(sweep), self._line().encode())
        if not self._live and now - self._logged >= LOG_SECONDS:
            self._logged = now
            self.say(self._line())

    def _line(self, *, final: bool = False) -> str:
        """Return everything in one line, as a log has it."""
        line = f"{self._phase}: {self._counts(final=final)}"
        if best := self._best_text():
            line += f" | {best}"
        return f"{line} | {self._times(final=final)}"

    def _counts(self, *, final: bool = False) -> str:
        counts, running = Counter(self._ended.values()), len(self._running)
        parts = [f"{counts['done']} done"]
        parts += [f"{counts[ending]} {ending}" for ending in ("pruned", "failed") if counts[ending]]
        if not final:
            parts.append(f"{running} running")
            if self._planned is not None:
                parts.append(f"{max(0, self._planned - len(self._ended) - running)} left")
        if self._cached:
            parts.append(f"{len(self._cached)} there already")
        return ", ".join(parts)

    def _best_text(self) -> str:
        if not self._best or self._objective is None:
            return ""
        best = [
            f"{value:.4f}" + (f" ({point})" if point else "")
            for value, point in self._best.values()
        ]
        each = " of each data set:" if len(best) > 1 else ""
        return f"best {self._objective[0]}{each} {', '.join(best)}"

    def _times(self, *, final: bool = False) -> str:
        elapsed = time.monotonic() - self._began
        left = None if final else self._seconds_left(elapsed)
        text = duration(round(elapsed))
        return text if left is None else f"{text}, about {duration(round(left))} left"

    def _finished(self) -> float:
        """Return how many trials are finished, those that run as the shares that they have done."""
        shares = sum(trial.share for trial in list(self._running.values()))
        return len(self._ended) + shares

    def _seconds_left(self, elapsed: float) -> float | None:
        """Estimate the time left, if the trials to come take as long as those that ran."""
        finished = self._finished()
        if self._planned is None or finished < 0.5:
            return None
        return elapsed / finished * max(0.0, self._planned - finished)

    def _renderable(self) -> RenderableType:
        """Return what a terminal shows: a bar, the counts, the best point, and what runs. It is
        asked for by a thread of its own."""
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        total = None if self._planned is None else max(1, self._planned)
        bar.add_row(self._phase, ProgressBar(total=total, completed=self._finished()))
        lines = [f"{self._counts()} | {self._times()}"]
        if best := self._best_text():
            lines.append(best)
        lines += self._running_lines()
        width = self._console.width
        return Group(bar, *(Text(self._fitted(line, width), no_wrap=True) for line in lines))

    def _running_lines(self) -> Iterator[str]:
        """Yield a line for each running trial, as many as the terminal has room for."""
        trials = sorted(self._running.items(), key=lambda item: item[1].name)
        most = max(1, min(MAX_RUNNING_LINES, self._console.height - SUMMARY_LINES - 1))
        visible, names = trials[:most], Counter(trial.name for _, trial in trials)
        labels = [
            trial.name if names[trial.name] == 1 else f"{trial.name} ({trial_id[:6]})"
            for trial_id, trial in visible
        ]
        states = [trial.state for _, trial in visible]
        room = self._console.width - max(map(len, states), default=0) - 4
        width = min(max(map(len, labels), default=0), max(MIN_NAME_WIDTH, room))
        for label, state in zip(labels, states, strict=True):
            yield f"  {self._fitted(label, width):{width}}  {state}"
        if len(trials) > most:
            yield f"  and {len(trials) - most} more"

    def _fitted(self, text: str, width: int) -> str:
        """Return ``text``, its end cut off where it is longer than ``width``."""
        if len(text) <= width:
            return text
        mark = "\u2026" if self._console.encoding.startswith("utf") else "~"
        return text[: max(0, width - 1)] + mark


def trial_name(
    role: str, seed: int, swept: Mapping[str, object] | None = None, case: str | None = None
) -> str:
    """Return what people call a trial: ``sigma=0.1 temperature=2, seed 0``; ``teacher seed 1``."""
    point = " ".join(filter(None, (case, swept_text(swept or {}))))
    return f"{point}, seed {seed}" if point else f"{role} seed {seed}"


def swept_text(swept: Mapping[str, object]) -> str:
    """Return swept values under the shortest ends of their paths that tell them apart."""
    names = short_paths(swept)
    return " ".join(f"{names[path]}={value_text(value) or 'null'}" for path, value in swept.items())


def progress_file(sweep: str) -> str:
    """Where a running sweep says how it is doing."""
    return f"locks/{sweep}.progress"
