"""What a run says at its end."""

from __future__ import annotations

import pytest

from kdray.cli.summary import print_summary
from kdray.sweep.scheduling.account import Summary
from kdray.trials.task import Reason, ReasonKind


def first_lines(capsys: pytest.CaptureFixture[str], summary: Summary) -> list[str]:
    print_summary(summary, "r")
    return [line.partition(";")[0] for line in capsys.readouterr().out.splitlines()]


def test_a_run_that_stopped_before_its_first_trial_has_something_left_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = Summary(there={"a"}, stopped="0.1 hours are used up")
    assert first_lines(capsys, summary)[:2] == [
        "no trial run, 1 there already",
        "stopped early: 0.1 hours are used up",
    ]
    assert first_lines(capsys, Summary(there={"a"}))[0] == "nothing left to do, 1 there already"


def test_remarks_have_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = first_lines(capsys, Summary(ran={"a"}, remarks=["no point keeps to x >= 2"]))
    assert lines[0] == "1 trial run, 0 there already"
    assert lines[1:] == ["no point keeps to x >= 2", "next: kdray report r"]


def test_a_retry_is_offered_only_where_it_may_help(capsys: pytest.CaptureFixture[str]) -> None:
    unfit = Reason(kind=ReasonKind.EXPERIMENT, text="depth: 9 is not 6n + 2")
    diverged = Reason(kind=ReasonKind.EXPERIMENT, text="Diverged")
    summary = Summary(failures={"point 0": unfit}, unfit={"point 0"})
    print_summary(summary, "r")
    assert "--retry-failed" not in capsys.readouterr().err
    summary.failures["a"] = diverged
    print_summary(summary, "r")
    assert "--retry-failed" in capsys.readouterr().err
