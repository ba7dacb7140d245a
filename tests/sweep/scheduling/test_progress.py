"""What a sweep says about itself: counts, the time left, the best point, at most one line now and
then in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kdray.results import Store
from kdray.sweep.scheduling import progress as module
from kdray.sweep.scheduling.progress import EVERY, Progress, progress_file


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
        progress.ended("a", failed=False)
        progress.ended("b", failed=True)
        clock.now += EVERY
        progress.stepped("c", 0.5, "epoch 1/2")
        progress.ended("c", failed=False)
        clock.now += 5
    assert lines(said) == [
        "students: 1 done, 1 failed, 1 running, 2 left, 2 there already | 15 s, about 15 s left",
        "students: 2 done, 1 failed, 2 there already | 20 s",
    ]


def test_a_phase_in_which_nothing_ran_says_nothing(said: io.StringIO) -> None:
    with Progress(said).phase("teachers", planned=0, there="abc"):
        pass
    assert lines(said) == []


def test_what_turns_out_to_be_there_meanwhile_is_counted(said: io.StringIO) -> None:
    progress, there = Progress(said), {"x"}
    with progress.phase("students", planned=2, there=there):
        there.add("y")
        progress.ended("a", failed=False)
    assert lines(said) == ["students: 1 done, 2 there already | 0 s"]


def test_the_next_phase_counts_from_zero(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    for name in ("teachers", "students"):
        with progress.phase(name, planned=1):
            progress.started("a")
            clock.now += 3
            progress.ended("a", failed=False)
    assert lines(said) == ["teachers: 1 done | 3 s", "students: 1 done | 3 s"]


def test_in_a_log_a_line_comes_at_most_every_so_often(said: io.StringIO, clock: Clock) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=1000):
        for second in range(100):
            progress.started(f"trial {second}")
            progress.stepped(f"trial {second}", 0.5, "epoch 1/2")
            progress.ended(f"trial {second}", failed=False)
            clock.now += 1
        assert len(lines(said)) == 100 // EVERY
    assert len(lines(said)) == 100 // EVERY + 1


def test_nothing_is_left_where_more_ran_than_was_planned_and_unknown_where_nothing_was(
    said: io.StringIO, clock: Clock
) -> None:
    progress = Progress(said)
    for planned in (1, None):
        with progress.phase("students", planned=planned):
            for trial in "ab":
                progress.started(trial)
                progress.ended(trial, failed=False)
            clock.now += EVERY
            progress.started("c")
            progress.ended("c", failed=False)
    assert lines(said)[0] == "students: 2 done, 1 running, 0 left | 15 s, about 0 s left"
    assert lines(said)[2] == "students: 2 done, 1 running | 15 s"


def test_how_long_it_takes_is_said_once_half_a_trial_is_done(
    said: io.StringIO, clock: Clock
) -> None:
    progress = Progress(said)
    with progress.phase("students", planned=4):
        progress.started("a")
        clock.now += EVERY
        progress.stepped("a", 0.4, "")
        clock.now += EVERY
        progress.stepped("a", 0.5, "")
    assert ["left" in line.partition("|")[2] for line in lines(said)] == [False, True]
    assert lines(said)[1].endswith("| 30 s, about 3 min 30 s left")


@pytest.mark.parametrize(
    ("mode", "best"), [("max", "0.9000 (sigma=0.1 kind=x)"), ("min", "0.7000 (sigma=0.2 kind=y)")]
)
def test_the_best_point_is_the_highest_or_the_lowest(
    said: io.StringIO, mode: str, best: str
) -> None:
    progress = Progress(said)
    progress.aim("val_accuracy", mode)
    with progress.phase("students", planned=3):
        progress.point(0.8, {"noise.input.sigma": 0.0})
        progress.point(0.9, {"noise.input.sigma": 0.1, "kind": "x"})
        progress.point(0.7, {"noise.input.sigma": 0.2, "kind": "y"})
        progress.point(0.8, {"noise.input.sigma": 0.3})
        progress.ended("a", failed=False)
    assert lines(said) == [f"students: 1 done | best val_accuracy {best} | 0 s"]


def test_of_equal_points_the_first_is_the_best_and_a_point_without_parameters_has_none(
    said: io.StringIO,
) -> None:
    progress = Progress(said)
    progress.aim("val_accuracy", "max")
    with progress.phase("students", planned=1):
        progress.point(0.8, {})
        progress.point(0.8, {"a": 1})
        progress.ended("a", failed=False)
    assert lines(said) == ["students: 1 done | best val_accuracy 0.8000 | 0 s"]


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
        progress.ended("a", failed=False)
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
        progress.ended("a", failed=False)
    assert lines(said) == ["students: 1 done | 1 s"]


def test_on_a_terminal_it_is_one_live_display_with_what_runs_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    said = Terminal()
    progress = Progress(said)
    with progress.phase("students", planned=20):
        for number in range(12):
            progress.started(f"trial-{number:02}")
        progress.stepped("trial-03", 0.5, "epoch 3/6")
        shown = str(progress._renderable())
        assert shown.splitlines()[0].startswith("students: 0 done, 12 running, 8 left")
        assert "  trial-03  epoch 3/6" in shown
        assert len(shown.splitlines()) == 1 + 8
        progress.ended("trial-03", failed=False)
    assert "students: 1 done" in said.getvalue()
