"""``kdray report``: a page, or the table of points, from a results folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kdray.cli.exit_codes import OK
from kdray.cli.output import complain
from kdray.core import InputError
from kdray.core.wording import file_size
from kdray.core.yaml import plain_scalar
from kdray.report.page.html import chosen_groups, opened, render
from kdray.report.page.points import table
from kdray.results import Results, open_results

SUFFIXES = (".html", ".csv", ".tex")


def execute(chosen: argparse.Namespace) -> int:
    out = Path(chosen.out)
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"--out {chosen.out}: what to write follows from the ending (allowed: "
            f"{', '.join(SUFFIXES)})"
        )
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(
            f"--out {chosen.out}: {'is a folder' if out.is_dir() else 'there is no such folder'}"
        )
    results = open_results(chosen.results)
    if out.suffix.lower() == ".html":
        against = baseline(chosen.baseline)
        text = render(results, sweep=chosen.sweep, baseline=against, progress=complain)
    else:
        text = _table(results, chosen.sweep, out.suffix.lower())
    out.write_text(text, encoding="utf-8")
    print(f"{out}: {file_size(len(text.encode()))}" if out.suffix.lower() == ".html" else str(out))
    return OK


def _table(results: Results, sweep: str | None, suffix: str) -> str:
    """The table of points of one sweep as CSV or LaTeX."""
    held, problems = opened(results)
    for problem in problems:
        complain(f"kdray: warning: {problem}")
    groups = [group for group in chosen_groups(held, sweep) if not group.points.empty]
    if len(groups) != 1:
        names = ", ".join(group.title for group in groups)
        raise InputError(
            f"--out: a table is of one sweep on one data set, here are {names}: choose with --sweep"
            if groups
            else f"{results.store.place}: no completed student, so there is no table"
        )
    made = table(groups[0], exact=suffix == ".csv")
    return (
        made.to_csv()
        if suffix == ".csv"
        else f"% needs \\usepackage{{booktabs}} in the preamble\n{made.to_latex()}"
    )


def baseline(text: str | None) -> int | str | dict[str, Any] | None:
    """``3`` is a point, ``method.alpha=0.5,seed=1`` values by path, anything else the name of a
    case."""
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in text.split(",")]
    for path, equals, value in pairs:
        if not (path.strip() and equals and value.strip()):
            raise InputError(
                f"--baseline {text}: needs a point's number, a case's name, or path=value"
            )
    return {path.strip(): _value(value.strip()) for path, _, value in pairs}


def _value(text: str) -> Any:
    """As it would be written in a sweep's file."""
    return plain_scalar(text)
