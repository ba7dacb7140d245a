"""What the scripts in ``analysis/`` have in common: RESULTS in, a folder with pictures, tables and
a README out."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import pandas as pd

from kdray.core import InputError
from kdray.report.figures.figure import Figure, Missing
from kdray.report.figures.tables import Table
from kdray.report.papers.comparable import Chosen
from kdray.report.papers.snapshot import Snapshot
from kdray.results import open_results

Drawing = Figure | Table | Missing
Draw = Callable[[Snapshot], Drawing | Iterable[Drawing]]
"""Draws one figure or table, or several. The first line of its docstring is a title for what it
cannot draw."""


def run(title: str, draws: Sequence[Draw], argv: Sequence[str] | None = None) -> int:
    """Draw everything from the results that the command line names; 0, or 2 if there are no results
    to read."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument(
        "results", metavar="RESULTS", help="a results folder of kdray run, or its URI"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="where pictures, tables and README.md go",
    )
    given = parser.parse_args(argv)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # How quickly columns are added is no concern of who draws a few hundred rows.
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)
        try:
            snapshot = Snapshot(open_results(given.results))
            if not snapshot.sweeps:
                raise InputError(
                    f"{given.results}: no trained students here; kdray run SWEEP.yaml "
                    f"--results {given.results}"
                )
        except InputError as error:
            _print(f"error: {error}", sys.stderr)
            return 2
        drawings = []
        for drawing in (drawing for draw in draws for drawing in drawn(draw, snapshot)):
            files = [] if isinstance(drawing, Missing) else drawing.save(given.out)
            names = ", ".join(file.name for file in files)
            _print(f"{drawing.name}: {drawing.reason if isinstance(drawing, Missing) else names}")
            drawings.append(drawing)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        _print(f"warning: {text}", sys.stderr)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "README.md").write_text(readme(title, drawings), encoding="utf-8")
    return 0


def drawn(draw: Draw, snapshot: Snapshot) -> list[Drawing]:
    """What ``draw`` gives, each with a caption that says which evaluations were chosen for it. An
    :class:`InputError` in it is a figure that is missing, for that reason."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Chosen)
        made = _made(draw, snapshot)
    said = []
    for warning in caught:
        if issubclass(warning.category, Chosen):
            said.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return [_with_remarks(drawing, list(dict.fromkeys(said))) for drawing in made]


def _made(draw: Draw, snapshot: Snapshot) -> list[Drawing]:
    try:
        made = draw(snapshot)
        return [made] if isinstance(made, Figure | Table | Missing) else list(made)
    except InputError as error:
        title = (draw.__doc__ or draw.__name__).strip().splitlines()[0].rstrip(".")
        return [Missing(draw.__name__, title, str(error))]


def _with_remarks(drawing: Drawing, remarks: Sequence[str]) -> Drawing:
    if isinstance(drawing, Missing) or not remarks:
        return drawing
    return replace(drawing, caption=" ".join([drawing.caption, *(f"{each}." for each in remarks)]))


def readme(title: str, drawings: Iterable[Drawing]) -> str:
    """Every picture, table and caption on one page, and what is missing and why."""
    return "\n\n".join([f"# {title}", *map(_section, drawings)]) + "\n"


def _section(drawing: Drawing) -> str:
    head = f"## {drawing.title}\n\n"
    match drawing:
        case Figure(name=name):
            links = f"[PDF]({name}.pdf) · [SVG]({name}.svg)"
            return f"{head}![{drawing.title}]({name}.png)\n\n{drawing.caption}\n\n{links}"
        case Table(name=name):
            return (
                f"{head}{drawing.to_markdown()}\n{drawing.caption}\n\n[CSV]({name}.csv) · "
                f"[LaTeX]({name}.tex)"
            )
        case Missing():
            return f"{head}*Not drawn: {drawing.reason}*"


def _print(text: str, where: TextIO | None = None) -> None:
    print(text, file=where or sys.stdout, flush=True)
