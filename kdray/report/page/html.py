"""The report: one HTML file that says what a results folder holds, to somebody who did not run it.

It needs nothing beside itself: style, scripts, figures and data stand in it, and its content
security policy forbids it to fetch anything. Jinja2 escapes every value; what the script shows it
sets as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdray.core import InputError
from kdray.core.wording import counted, duration, is_missing, listed, number
from kdray.report.figures.style import COLUMN
from kdray.report.page import facts, figures, points, statistics, summary, trials
from kdray.report.page import failures as trouble
from kdray.report.page import search_figures as searched
from kdray.report.page.group import Group, groups, records
from kdray.results import ConflictingRows, DamagedFile, Results

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from kdray.report.figures.figure import Figure

HERE = Path(__file__).parent
SCRIPTS = ("dataTables.min.js", "report.js")
READ_FIRST = ("members", "trials", "epochs", "robustness")


@dataclass(frozen=True)
class Picture:
    """A figure on the page."""

    title: str
    caption: str
    svg: str
    wide: bool
    """Across the page, not half of it."""


@dataclass(frozen=True)
class Section:
    """All that is said of one group."""

    name: str
    """Of its anchors."""
    group: Group
    summary: list[str]
    facts: list[tuple[str, str]]
    columns: list[points.Column]
    lines: list[points.Line]
    baseline: str
    comparisons: list[statistics.Comparison]
    pictures: list[Picture]
    searched: list[Picture]
    doubts: list[trouble.Doubt]
    failures: list[trouble.Failure]
    trials: list[dict[str, Any]]
    """Rows of those that have ended, teachers first."""
    anchors: frozenset[str]
    """Ids of the trials that no section before has."""


def render(
    results: Results,
    *,
    sweep: str | None = None,
    baseline: statistics.Baseline | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """The page, of ``sweep`` only if one is named; :class:`InputError` if there is no such sweep,
    or baseline.

    ``progress`` is told what is being done, each time that something begins.
    """
    progress("reading the tables")
    held, problems = opened(results)
    for problem in problems:
        progress(f"kdray: warning: {problem}")
    found = chosen(held, sweep)
    sections: list[Section] = []
    for position, group in enumerate(found):
        progress(f"{group.title} ({position + 1} of {len(found)})")
        before = {row["trial_id"] for each in sections for row in each.trials}
        sections.append(_section(group, f"s{position}", baseline, before))
    _check_baseline(sections, baseline)
    scripts = [_static(name) for name in SCRIPTS]
    page = _environment().get_template("report.html")
    return page.render(
        title=listed([f"“{name}”" for name in dict.fromkeys(group.sweep for group in found)], 3)
        if found
        else "nothing yet",
        sections=sections,
        problems=problems,
        place=held.store.place,
        version=version("kdray"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        style=_static("report.css"),
        scripts=scripts,
        policy=_policy(scripts),
        data=_embedded(trials.details(found)),
    )


def opened(results: Results) -> tuple[Results, list[str]]:
    """The results as they are now, each table read once, and what was wrong with their files."""
    held = results.snapshot()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        held.members(), held.trials(), held.epochs(), held.robustness()
    problems = []
    for each in caught:
        if issubclass(each.category, DamagedFile | ConflictingRows):
            problems.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return held, problems


def chosen(results: Results, sweep: str | None) -> list[Group]:
    """The groups of ``sweep``, or of all."""
    found = groups(results, sweep)
    if sweep is not None and not found:
        known = list(dict.fromkeys(group.sweep for group in groups(results)))
        raise InputError(
            f"{results.store.place}: no sweep {sweep!r} (there are: {', '.join(known) or 'none'})"
        )
    return found


def _section(
    group: Group, name: str, baseline: statistics.Baseline | None, before: set[str]
) -> Section:
    against, compared = statistics.comparisons(group, baseline)
    failed, doubted = trouble.failures(group), trouble.doubts(group)
    rows = (
        pd.concat([group.teachers, group.students])
        .drop_duplicates("trial_id")
        .dropna(subset=["status"])
    )
    return Section(
        name=name,
        group=group,
        summary=summary.summary(group, against, compared, failed, doubted),
        facts=facts.facts(group),
        columns=points.columns(group),
        lines=points.lines(group),
        baseline=against,
        comparisons=compared,
        pictures=[_picture(each) for each in figures.figures(group, name)],
        searched=[_picture(each) for each in searched.figures(group, name)],
        doubts=doubted,
        failures=failed,
        trials=records(rows),
        anchors=frozenset(rows["trial_id"]) - before,
    )


def _picture(figure: Figure) -> Picture:
    return Picture(
        figure.title, figure.caption, figure.svg(), wide=figure.figure.get_figwidth() > COLUMN * 1.5
    )


def _breakable(name: str) -> Markup:
    """A dotted path that may be broken after each of its parts."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(map(escape, re.split(r"(?<=[._\[,])", name)))


def _check_baseline(sections: list[Section], baseline: statistics.Baseline | None) -> None:
    """A baseline that no part of the page has is a mistake; that only some have it is said
    there."""
    compared = [each for section in sections for each in section.comparisons]
    if baseline is not None and not any(each.rows for each in compared):
        reasons = list(dict.fromkeys(each.problem for each in compared if each.problem))
        said = (
            reasons[0].removeprefix("baseline: ")
            if reasons
            else "there are no two points to compare"
        )
        raise InputError(f"--baseline: {said}")


@cache
def _static(name: str) -> str:
    return (HERE / "static" / name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """Of the page's content: only these scripts run, styles and pictures stand in the page, nothing
    is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    allowed = f"script-src {hashes}; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _embedded(data: dict[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "duration": duration,
        "counted": counted,
        "breakable": _breakable,
    }
    made.tests["missing"] = is_missing
    return made
