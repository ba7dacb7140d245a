"""The report as one HTML file, which tells somebody who did not run the sweeps what a results
folder holds.

The file is complete: style, scripts, figures and data are inside, and its content security policy
forbids it to fetch anything. Jinja2 escapes every value, and the script inserts values as text.
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
from kdray.report.page.facts import facts
from kdray.report.page.failures import Doubt, Failure, doubts, failures
from kdray.report.page.figures import figures
from kdray.report.page.group import Group, groups, records
from kdray.report.page.points import Column, Line, columns, lines
from kdray.report.page.search_figures import search_figures
from kdray.report.page.statistics import Baseline, Comparison, comparisons
from kdray.report.page.summary import summary
from kdray.report.page.trials import details
from kdray.results import ConflictingRows, DamagedFile, Results
from kdray.results.points.wilson import CONFIDENCE_TEXT

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from kdray.report.figures.figure import Figure

HERE = Path(__file__).parent
SCRIPTS = ("dataTables.min.js", "report.js")
MAX_TITLE_SWEEPS = 3
"""Sweeps that the title of the page names."""


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
    """The part of the page about one group."""

    name: str
    """What its anchors begin with."""
    group: Group
    summary: list[str]
    facts: list[tuple[str, str]]
    columns: list[Column]
    lines: list[Line]
    baseline: str
    comparisons: list[Comparison]
    pictures: list[Picture]
    search_pictures: list[Picture]
    doubts: list[Doubt]
    failures: list[Failure]
    trials: list[dict[str, Any]]
    """Rows of those that have ended, teachers first."""
    anchors: frozenset[str]
    """Ids of the trials that no earlier section has."""


def render(
    results: Results,
    *,
    sweep: str | None = None,
    baseline: Baseline | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Return the page, of ``sweep`` only if one is named; :class:`InputError` if there is no such
    sweep, or baseline.

    ``progress`` is called with a line at the beginning of each step.
    """
    progress("reading the tables")
    snapshot, problems = opened(results)
    for problem in problems:
        progress(f"kdray: warning: {problem}")
    chosen = chosen_groups(snapshot, sweep)
    sections: list[Section] = []
    for position, group in enumerate(chosen):
        progress(f"{group.title} ({position + 1} of {len(chosen)})")
        earlier = {row["trial_id"] for section in sections for row in section.trials}
        sections.append(_section(group, f"s{position}", baseline, earlier))
    _check_baseline(sections, baseline)
    scripts = [_static(name) for name in SCRIPTS]
    sweeps = dict.fromkeys(f"“{group.sweep}”" for group in chosen)
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=listed(sweeps, MAX_TITLE_SWEEPS) if sweeps else "nothing yet",
            sections=sections,
            problems=problems,
            place=snapshot.store.place,
            version=version("kdray"),
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            style=_static("report.css"),
            scripts=scripts,
            policy=_policy(scripts),
            data=_embedded(details(chosen)),
        )
    )


def opened(results: Results) -> tuple[Results, list[str]]:
    """Return the results as they are now, each table read once, and what was wrong with their
    files."""
    snapshot = results.snapshot()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        snapshot.members(), snapshot.trials(), snapshot.epochs(), snapshot.robustness()
    problems = []
    for each in caught:
        if issubclass(each.category, DamagedFile | ConflictingRows):
            problems.append(str(each.message))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return snapshot, problems


def chosen_groups(results: Results, sweep: str | None) -> list[Group]:
    """Return the groups of ``sweep``, or of all."""
    found = groups(results, sweep)
    if sweep is not None and not found:
        names = list(dict.fromkeys(group.sweep for group in groups(results)))
        raise InputError(
            f"{results.store.place}: no sweep {sweep!r} (there are: {', '.join(names) or 'none'})"
        )
    return found


def _section(group: Group, name: str, baseline: Baseline | None, earlier: set[str]) -> Section:
    """Return the section of ``group``; ``earlier``: ids of the trials of those before it."""
    against, compared = comparisons(group, baseline)
    failed, doubted = failures(group), doubts(group)
    trials = pd.concat([group.teachers, group.students]).drop_duplicates("trial_id")
    ended = trials.dropna(subset=["status"])
    return Section(
        name=name,
        group=group,
        summary=summary(group, against, compared, failed, doubted),
        facts=facts(group),
        columns=columns(group),
        lines=lines(group),
        baseline=against,
        comparisons=compared,
        pictures=[_picture(each) for each in figures(group, name)],
        search_pictures=[_picture(each) for each in search_figures(group, name)],
        doubts=doubted,
        failures=failed,
        trials=records(ended),
        anchors=frozenset(ended["trial_id"]) - earlier,
    )


def _picture(figure: Figure) -> Picture:
    wide = figure.figure.get_figwidth() > COLUMN * 1.5
    return Picture(figure.title, figure.caption, figure.svg(), wide)


def _breakable(name: str) -> Markup:
    """Return a dotted path that may be broken after each of its parts."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(map(escape, re.split(r"(?<=[._\[,])", name)))


def _check_baseline(sections: list[Section], baseline: Baseline | None) -> None:
    """Raise :class:`InputError` if no section has the baseline; a section without it says so
    itself."""
    compared = [each for section in sections for each in section.comparisons]
    if baseline is not None and not any(each.rows for each in compared):
        reasons = list(dict.fromkeys(each.problem for each in compared if each.problem))
        reason = reasons[0] if reasons else "there are no two points to compare"
        raise InputError(f"--baseline: {reason.removeprefix('baseline: ')}")


@cache
def _static(name: str) -> str:
    return (HERE / "static" / name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """Return the content security policy: only these scripts run, styles and pictures are the
    page's own, nothing is fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    allowed = f"script-src {hashes}; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _embedded(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the element around it."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "duration": duration,
        "counted": counted,
        "breakable": _breakable,
    }
    environment.globals["confidence"] = CONFIDENCE_TEXT
    environment.tests["missing"] = is_missing
    return environment
