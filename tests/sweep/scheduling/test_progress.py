"""What a sweep says about itself: counts, the time left, the best point, at most one line now and
then in a log."""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from kdray.results import Store
from kdray.results.metrics import Mode
from kdray.sweep.run import run
from kdray.sweep.scheduling import progress as module
from kdray.sweep.scheduling.progress import LOG_SECONDS, Progress, progress_file, trial_name
from tests.sweep.fakes import NOWHERE, sweep_of


class Clock:
    """Time as a test wants it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def said(clock: Clock) -> io.StringIO:
    return io.StringIO()


def lines(said: io.StringIO) -> list[str]:
    return said.getvalue().splitlines()


def test_trials_are_counted_and_the_last_line_sums_them_up(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=5, there={"x", "y"}):
        for trial in "abc":
            progress.started(trial)
        progress.ended("a", "done")
        progress.ended("b", "failed")
        clock.now += LOG_SECONDS
        progress.stepped("c", 0.5, "epoch 1/2")
        progress.ended("c", "done")
        clock.now += 5
    assert lines(said) == [
        "students: 1 done, 1 failed, 1 running, 2 left, 2 there already | 15 s, about 15 s left",
        "students: 2 done, 1 failed, 2 there already | 20 s",
    ]


def test_what_was_stopped_early_is_not_done(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=4):
        for trial, ending in (("a", "done"), ("b", "pruned"), ("c", "pruned")):
            progress.started(trial)
            progress.ended(trial, ending)  # type: ignore[arg-type]
        clock.now += LOG_SECONDS
        progress.started("b")
    assert lines(said) == [
        "students: 1 done, 1 pruned, 1 running, 1 left | 15 s, about 15 s left",
        "students: 1 done, 1 pruned | 15 s",
    ]


def test_a_phase_in_which_nothing_ran_says_nothing(said: io.StringIO) -> None:
    with Progress(said).phase("teachers", planned=0, there="abc"):
        pass
    assert lines(said) == []


def test_what_turns_out_to_be_there_meanwhile_is_counted(said: io.StringIO) -> None:
    progress, there = Progress(said), {"x"}
    with progress.phase("students", planned=2, there=there):
        there.add("y")
        progress.ended("a", "done")
    assert lines(said) == ["students: 1 done, 2 there already | 0 s"]


def test_the_next_phase_counts_from_zero(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    for name in ("teachers", "students"):
        with progress.phase(name, planned=1):
            progress.started("a")
            clock.now += 3
            progress.ended("a", "done")
    assert lines(said) == ["teachers: 1 done | 3 s", "students: 1 done | 3 s"]


def test_in_a_log_a_line_comes_at_most_every_so_often(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=1000):
        for second in range(100):
            progress.started(f"trial {second}")
            progress.stepped(f"trial {second}", 0.5, "epoch 1/2")
            progress.ended(f"trial {second}", "done")
            clock.now += 1
        assert len(lines(said)) == 100 // LOG_SECONDS
    assert len(lines(said)) == 100 // LOG_SECONDS + 1


def test_nothing_is_left_where_more_ran_than_was_planned_and_unknown_where_nothing_was(
    said: io.StringIO, clock: Clock
) -> None:
    progress = Progress(said)
    for planned in (1, None):
        with progress.phase("students", planned=planned):
            for trial in "ab":
                progress.started(trial)
                progress.ended(trial, "done")
            clock.now += LOG_SECONDS
            progress.started("c")
            progress.ended("c", "done")
    assert lines(said)[0] == "students: 2 done, 1 running, 0 left | 15 s, about 0 s left"
    assert lines(said)[2] == "students: 2 done, 1 running | 15 s"


def test_how_long_it_takes_is_said_once_half_a_trial_is_done(
    said: io.StringIO, clock: Clock
) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=4):
        progress.started("a")
        clock.now += LOG_SECONDS
        progress.stepped("a", 0.4, "")
        clock.now += LOG_SECONDS
        progress.stepped("a", 0.5, "")
    assert ["left" in line.partition("|")[2] for line in lines(said)] == [False, True]
    assert lines(said)[1].endswith("| 30 s, about 3 min 30 s left")


@pytest.mark.parametrize(
    ("mode", "best"), [("max", "0.9000 (sigma=0.1 kind=x)"), ("min", "0.7000 (sigma=0.2 kind=y)")]
)
def test_the_best_point_is_the_highest_or_the_lowest(
    said: io.StringIO, mode: Mode, best: str
) -> None:
    progress = Progress(said)
    progress.aim("val_accuracy", mode)
    with progress.phase("students", planned=3):
        progress.point(0.8, {"noise.input.sigma": 0.0})
        progress.point(0.9, {"noise.input.sigma": 0.1, "kind": "x"})
        progress.point(0.7, {"noise.input.sigma": 0.2, "kind": "y"})
        progress.point(0.8, {"noise.input.sigma": 0.3})
        progress.ended("a", "done")
    assert lines(said) == [f"students: 1 done | best val_accuracy {best} | 0 s"]


def test_of_equal_points_the_first_is_the_best_and_a_point_without_parameters_has_none(
    said: io.StringIO,
) -> None:
    progress = Progress(said)
    progress.aim("val_accuracy", "max")
    with progress.phase("students", planned=1):
        progress.point(0.3, {})
        progress.point(0.3, {"a": 1})
        progress.point(0.1 + 0.2, {"a": 2})
        progress.ended("a", "done")
    assert lines(said) == ["students: 1 done | best val_accuracy 0.3000 | 0 s"]


def test_brackets_survive_and_long_lines_are_not_broken(said: io.StringIO) -> None:
    progress = Progress(said)
    progress.say(f"trial [red]x[/red] {'long ' * 60}end")
    progress.warn("weights[0] of [bold]x")
    assert lines(said) == [
        f"trial [red]x[/red] {'long ' * 60}end",
        "warning: weights[0] of [bold]x",
    ]


def test_the_line_is_kept_where_status_finds_it(
    said: io.StringIO, clock: Clock, tmp_path: Path
) -> None:
    store = Store(tmp_path / "results")
    store.create()
    progress = Progress(said)
    progress.publish(store, "s")
    with progress.phase("students", planned=2):
        progress.started("a")
        assert not store.exists(progress_file("s"))
        clock.now += 1
        progress.stepped("a", 0.5, "epoch 1/2")
        assert (
            store.read(progress_file("s"))
            == b"students: 0 done, 1 running, 1 left | 1 s, about 3 s left"
        )
        progress.ended("a", "done")
        assert b"1 running" in store.read(progress_file("s")), "once a second is enough"
        clock.now += 1
        progress.started("b")
        assert b"1 done, 1 running" in store.read(progress_file("s"))


def test_the_line_of_the_run_before_is_taken_away(said: io.StringIO, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    store.create()
    store.write(progress_file("s"), b"students: 0 done, 4 running")
    Progress(said).publish(store, "s")
    assert not store.exists(progress_file("s")) or b"4 running" not in store.read(
        progress_file("s")
    )


def test_a_folder_that_cannot_be_written_stops_no_sweep(
    said: io.StringIO, clock: Clock, tmp_path: Path
) -> None:
    progress = Progress(said)
    (tmp_path / "file").write_text("")
    progress.publish(Store(tmp_path / "file"), "s")
    with progress.phase("students", planned=1):
        clock.now += 1
        progress.started("a")
        progress.ended("a", "done")
    assert lines(said) == ["students: 1 done | 1 s"]


def test_a_trial_that_is_run_again_is_counted_once(said: io.StringIO, clock: Clock) -> None:
    """The chosen teacher is trained with the others and measured afterwards."""
    progress = Progress(said)
    with progress.phase("teachers", planned=3):
        for trial in "abc":
            progress.started(trial)
            progress.ended(trial, "done")
        clock.now += LOG_SECONDS
        progress.started("b")
        progress.ended("b", "done")
    assert lines(said) == [
        "teachers: 2 done, 1 running, 0 left | 15 s, about 8 s left",
        "teachers: 3 done | 15 s",
    ]


def test_a_trial_that_fails_when_it_is_measured_has_failed(said: io.StringIO) -> None:
    progress = Progress(said)
    with progress.phase("teachers", planned=1):
        for ending in ("done", "failed"):
            progress.started("a")
            progress.ended("a", ending)  # type: ignore[arg-type]
    assert lines(said) == ["teachers: 0 done, 1 failed | 0 s"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (trial_name("teacher", 1), "teacher seed 1"),
        (trial_name("student", 0), "student seed 0"),
        (
            trial_name("student", 0, {"noise.input.sigma": 0.1, "method.temperature": 2.0}),
            "sigma=0.1 temperature=2, seed 0",
        ),
        (trial_name("student", 2, {"method.alpha": 0.5}, "noisy"), "noisy alpha=0.5, seed 2"),
        (
            trial_name("student", 2, {"noise.input.sigma": 0.1, "noise.weights.sigma": 0.2}),
            "input.sigma=0.1 weights.sigma=0.2, seed 2",
        ),
    ],
)
def test_a_trial_is_called_by_its_point(name: str, text: str) -> None:
    assert name == text


class Terminal(io.StringIO):
    """A terminal without a size of its own: COLUMNS and LINES say it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Terminal:
    columns, rows = getattr(request, "param", (100, 24))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    return Terminal()


def screen(progress: Progress) -> list[str]:
    """What a terminal shows now."""
    console = Console(file=io.StringIO(), width=progress._console.width)
    console.print(progress._renderable())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_terminal_shows_a_bar_the_counts_the_best_point_and_what_runs(
    terminal: Terminal, clock: Clock
) -> None:
    progress = Progress(terminal)
    progress.aim("val_accuracy", "max")
    with progress.phase("students", planned=20, there={"x"}):
        progress.point(0.9722, {"noise.input.sigma": 0.1})
        for number in range(12):
            progress.started(f"id{number}", f"sigma={number / 10:g}, seed 0")
        progress.ended("id0", "done")
        progress.ended("id1", "failed")
        progress.ended("id11", "pruned")
        clock.now += 30
        progress.stepped("id2", 0.5, "epoch 3/6", 0.95128)
        progress.stepped("id3", 0.9, "pgd20")
        bar, counts, best, *running = screen(progress)
        assert bar.startswith("students \u2501")
        assert counts == (
            "1 done, 1 pruned, 1 failed, 9 running, 8 left, 1 there already | 30 s, about 1 min 46 s "
            "left"
        )
        assert best == "best val_accuracy 0.9722 (sigma=0.1)"
        assert len(running) == 8 + 1
        assert running[0] == "  sigma=0.2, seed 0  epoch 3/6  val 0.951"
        assert running[1] == "  sigma=0.3, seed 0  pgd20"
        assert running[2] == "  sigma=0.4, seed 0  starting"
        assert running[-1] == "  and 1 more"
    assert "students: 1 done, 1 pruned, 1 failed, 1 there already" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


@pytest.mark.parametrize("terminal", [(40, 7)], indirect=True)
def test_a_small_terminal_has_fewer_and_shorter_lines(terminal: Terminal) -> None:
    progress = Progress(terminal)
    with progress.phase("students", planned=20):
        for number in range(12):
            progress.started(f"id{number}", f"sigma={number / 10:g} temperature=2, seed 0")
            progress.stepped(f"id{number}", 0.5, "epoch 3/6", 0.5)
        shown = screen(progress)
    assert len(shown) < 7
    assert all(len(line) <= 40 for line in shown)
    assert shown[2] == "  sigma=0 tempera\u2026  epoch 3/6  val 0.500"
    assert shown[-1] == "  and 10 more"


def test_trials_of_one_name_are_told_apart_by_their_ids(terminal: Terminal) -> None:
    progress = Progress(terminal)
    with progress.phase("teachers", planned=2):
        for trial_id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            progress.started(trial_id, "teacher seed 0")
        assert screen(progress)[-2:] == [
            "  teacher seed 0 (aaaaaa)  starting",
            "  teacher seed 0 (bbbbbb)  starting",
        ]


def test_an_interruption_leaves_the_cursor_and_no_display(terminal: Terminal) -> None:
    progress = Progress(terminal)
    with suppress(KeyboardInterrupt), progress.phase("students", planned=2):
        progress.started("a", "seed 0")
        raise KeyboardInterrupt
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_is_no_reason_to_fail(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Narrow(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    stream = Narrow(io.BytesIO(), encoding=encoding)
    progress = Progress(stream)
    with progress.phase("students", planned=2):
        progress.started("a", "temperature=2 " * 5)
        screen(progress)
        progress.ended("a", "done")
    stream.flush()
    assert b"students: 1 done" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_a_sweep_goes_on_when_whoever_read_has_left() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        progress = Progress(stream)
        with progress.phase("students", planned=1):
            progress.say("a")
            progress.started("a")
            progress.ended("a", "done")
        assert progress._console.quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for what it still holds


def test_a_dumb_terminal_has_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    progress = Progress(stream)
    with progress.phase("students", planned=1):
        progress.started("a")
        progress.ended("a", "done")
    assert stream.getvalue() == "students: 1 done | 0 s\n"


class Names(Progress):
    """Progress that notes how running trials look when they have done a step."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.running: list[str] = []

    def stepped(self, trial_id: str, share: float, text: str, *rest: float | None) -> None:
        super().stepped(trial_id, share, text, *rest)
        self.running.append(re.sub(r"\d\.\d{3}", "#", "|".join(self._running_lines()).strip()))


@pytest.mark.usefixtures("engine")
def test_a_run_shows_its_trials_by_point_and_counts_each_once(tmp_path: Path) -> None:
    progress = Names()
    run(sweep_of(), tmp_path / "results", data=NOWHERE, progress=progress)
    shown = dict.fromkeys(progress.running)
    assert "teacher seed 1  epoch 2/2  val #" in shown
    assert "sigma=0.2, seed 1  epoch 1/2  val #" in shown
    assert "sigma=0, seed 0  pgd1  val #" in shown
    logged = progress._console.file.getvalue()  # type: ignore[attr-defined]
    assert "teachers: 2 done |" in logged
    assert "students: 4 done |" in logged
