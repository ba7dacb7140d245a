"""What ``kdray run`` and ``kdray evaluate`` say at their end, and where results go."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from kdray.core.wording import counted
from kdray.results.files.location import printable, with_suffix

if TYPE_CHECKING:  # the sweep is run before it is told of
    from kdray.sweep.scheduling.account import Summary

FEW = 5
"""So many trials that failed alike are listed by their ids."""


def results_of(chosen: argparse.Namespace) -> str:
    """The results folder; a smoke test has its own."""
    if not chosen.smoke:
        return str(chosen.results)

    return with_suffix(chosen.results, "-smoke")


def print_summary(summary: Summary, results: str, verb: str = "run") -> None:
    """Print what was done, where it is, what failed, and the command that comes next."""
    done = f"{counted(len(summary.ran), 'trial')} {verb}"
    if not summary.ran:
        done = f"no trial {verb}" if summary.stopped else "nothing left to do"
    before = len(summary.there - summary.ran)
    print(
        f"{done}, {before} there already; tables in {printable(results)}/trials, epochs, "
        "robustness, members (Parquet)"
    )
    if summary.stopped:
        print(f"stopped early: {summary.stopped}; the same command goes on")
    for remark in summary.remarks:
        print(remark)
    if summary.given_up:
        spared = f"; this spared {summary.saved:.3g} trainings now" if summary.saved else ""
        print(
            f"{counted(len(summary.given_up), 'trial')} given up, by racing or early stopping"
            f"{spared}; 'kdray status' says why"
        )
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        alike: dict[str, list[str]] = {}
        for name, reason in summary.failures.items():
            alike.setdefault(reason.text, []).append(name)
        for text, names in alike.items():
            for name in names if len(names) <= FEW else [f"{len(names)} trials"]:
                print(f"  {name}: {text}", file=sys.stderr)
        if summary.retry_may_help:
            print("the same command with --retry-failed tries them again", file=sys.stderr)
    print(f"next: kdray report {shlex.quote(printable(results))}")
