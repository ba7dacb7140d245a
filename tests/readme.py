"""The tables in README files that are made from the code; ``python -m tests.readme`` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kdray.cli.catalogue import entries
from kdray.data import AnyData
from kdray.methods import AnyMethod
from kdray.methods.attack import Attack
from kdray.methods.igdm import IndirectGradient
from kdray.methods.weight_perturbation import WeightPerturbation
from kdray.models import AnyModel, Smoothing
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise, Noise
from kdray.results import TABLES
from kdray.results.metrics import METRICS
from kdray.results.points.objective import Objective
from kdray.robustness import AnyEvaluation, Monitor
from kdray.sweep.definition.callbacks import AnyCallback
from kdray.sweep.definition.file import (
    Budget,
    Case,
    Finals,
    Request,
    Resources,
    Suite,
    SweepFile,
    TeacherChoice,
)
from kdray.sweep.definition.samplers import AnySampler
from kdray.sweep.definition.stopping import EarlyStopping, Racing
from kdray.teachers import Init, Pretrained, Supervision, Virtual
from kdray.training import Training
from kdray.training.averaging import AnyAverage
from kdray.training.compute import ComputeOptions
from kdray.training.optimizers import AnyOptimizer, AnySchedule
from kdray.training.transforms import AnyTransform
from kdray.trials.experiment import Experiment
from tests.reference import fields

ROOT = Path(__file__).parents[1]
FOLDERS = ("kdray", "sweeps", "analysis", "tests")
PAPERS = ("noisy_collaboration", "smoothed_models", "current_understanding", "robust_student")


def readmes() -> list[Path]:
    """Every README.md, the front page first."""
    return [
        ROOT / "README.md",
        *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("README.md"))),
    ]


def columns(table: str) -> str:
    """The columns of one of the four tables: name, role, type, unit, meaning."""
    rows = [
        f"| `{column.name}` | {column.role} | {column.type} | {column.unit or '–'} | "
        f"{column.meaning or '–'} |"
        for column in TABLES[table]  # type: ignore[index]
    ]
    head = ["| column | role | type | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def metrics() -> str:
    """Every metric that is listed: what it is about, its unit, and which direction is better."""
    rows = [
        f"| `{metric.name}` | {metric.of} | {metric.unit or '–'} | {metric.mode} | "
        f"{'yes' if metric.headline else 'no'} |"
        for metric in METRICS
    ]
    head = [
        "| metric | of | unit | better | in tables of points |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows])


def papers() -> str:
    """Which paper has what: a row per method, noise and way of asking the teacher, with the place
    in each paper."""
    rows = [f"| in a sweep file | {' | '.join(PAPERS)} |", f"| --- |{' --- |' * len(PAPERS)}"]
    for what in ("methods", "noise"):
        for entry in entries(what):
            sources = [
                line.removeprefix("paper: ") for line in entry.details if line.startswith("paper: ")
            ]
            places = {
                paper: "; ".join(
                    _place(part, paper)
                    for text in sources
                    for part in text.split("; ")
                    if paper in part
                )
                for paper in PAPERS
            }
            if any("every paper" in text for text in sources):
                places = dict.fromkeys(PAPERS, "baseline")
            if any(places.values()):
                rows.append(
                    f"| {_named(entry.name, entry.details)} | {' | '.join(places.values())} |"
                )
    return "\n".join(rows)


def _place(text: str, paper: str) -> str:
    """The place in ``paper`` without the sources that it cites, and other papers."""
    return re.sub(r"\s*\([^()]*\)", "", text).replace(paper, "").partition(", as ")[0].strip(" ,")


def _named(name: str, details: list[str]) -> str:
    place = next(
        (line.partition(":")[0] for line in details if line.endswith(f": {{name: {name}, …}}")), ""
    )
    return (
        f"`{place}: {name}`"
        if place
        else f"`{name}`"
        if "." in name or name == "supervision"
        else f"`method: {name}`"
    )


def sweeps() -> str:
    """Every shipped sweep with the question or title in the first sentence of its header."""
    rows = ["| sweep | question |", "| --- | --- |"]
    for path in sorted((ROOT / "sweeps").rglob("*.yaml"), key=_folder_first):
        below = path.relative_to(ROOT / "sweeps")
        if below.parts[0] not in ("clusters", "suites"):
            rows.append(f"| [`{below}`]({below}) | {_first_sentence(path)} |")
    return "\n".join(rows)


def suites() -> str:
    """Every shipped suite with the first sentence of its header."""
    paths = sorted((ROOT / "sweeps" / "suites").glob("*.yaml"))
    rows = [
        f"| [`suites/{path.name}`](suites/{path.name}) | {_first_sentence(path)} |"
        for path in paths
    ]
    return "\n".join(["| suite | measures |", "| --- | --- |", *rows])


def _folder_first(path: Path) -> tuple[int, str]:
    return len(path.parts), str(path)


def _first_sentence(path: Path) -> str:
    """The first sentence of the comment that a sweep file begins with."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        if not line.startswith("# yaml-language-server: "):
            lines.append(line.removeprefix("# "))
    return re.split(r"(?<=[.?])\s", " ".join(lines))[0]


KINDS: dict[str, Any] = {
    "file": SweepFile,
    "search": AnySampler,
    "racing": Racing,
    "early stopping": EarlyStopping,
    "objective": Objective,
    "budget": Budget,
    "case": Case,
    "resources": Resources,
    "request": Request,
    "kernels": ComputeOptions,
    "callbacks": AnyCallback,
    "evaluate": Suite,
    "best": Finals,
    "experiment": Experiment,
    "teacher": TeacherChoice,
    "pretrained": Pretrained,
    "init": Init,
    "supervision": Supervision,
    "smoothing": Smoothing,
    "virtual": Virtual,
    "logit noise": AnyLogitNoise,
    "noise": Noise,
    "input noise": AnyInputNoise,
    "label noise": AnyLabelNoise,
    "weight noise": AnyWeightNoise,
    "training": Training,
    "monitor": Monitor,
    "transforms": AnyTransform,
    "averages": AnyAverage,
    "optimizers": AnyOptimizer,
    "schedules": AnySchedule,
    "methods": AnyMethod,
    "attack": Attack,
    "weight perturbation": WeightPerturbation,
    "indirect gradient": IndirectGradient,
    "models": AnyModel,
    "data": AnyData,
    "evaluations": AnyEvaluation,
}
"""What the reference of the sweep file has a table of."""
MADE: dict[str, Callable[[], str]] = {
    **{f"fields of {name}": partial(fields, kind) for name, kind in KINDS.items()},
    **{f"columns of {table}": partial(columns, table) for table in TABLES},
    "metrics": metrics,
    "papers": papers,
    "sweeps": sweeps,
    "suites": suites,
}
"""Every table that is made from the code, by the name in its marks."""
_MARKED = re.compile(r"(<!-- made: (?P<name>[^>]+) -->\n).*?(<!-- /made -->)", re.DOTALL)


def made(text: str) -> str:
    """``text`` with every table between marks made anew."""
    return _MARKED.sub(lambda mark: f"{mark[1]}{MADE[mark['name']]()}\n{mark[3]}", text)


def tables_in(text: str) -> Iterator[str]:
    """The names of the tables that are made for ``text``."""
    return (mark["name"] for mark in _MARKED.finditer(text))


if __name__ == "__main__":
    for readme in readmes():
        readme.write_text(made(readme.read_text(encoding="utf-8")), encoding="utf-8")
