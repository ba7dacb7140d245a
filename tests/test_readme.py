"""What README files show is true: files are valid, commands are known, examples run, links lead
somewhere, tables are those of the code."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import matplotlib as mpl
import pandas as pd
import pytest
import torch
import yaml

import kdray
from kdray.cli import build_parser
from kdray.core import parse
from kdray.core.yaml import parse_text, read_yaml
from kdray.data import AnyData
from kdray.models import AnyModel
from kdray.sweep.definition.file import Suite
from kdray.sweep.definition.read import sweep_from
from tests.readme import KINDS, MADE, ROOT, made, readmes, tables_in
from tests.reference import keys
from tests.report.synthetic import Made, write_made
from tests.sweep.fakes import TINY

mpl.use("agg")
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in readmes()}
REFERENCE = TEXTS["sweeps/README.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    """Every fenced block of a language, with the file that it is in."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(name, block) for name, text in TEXTS.items() for block in fenced.findall(text)]


SWEEPS = blocks("yaml")
COMMANDS = sorted(
    {
        (name, command)
        for name, block in blocks("sh")
        for command in re.findall(r"^(?:\.venv/bin/)?kdray (.*?)(?:\s+#.*)?$", block, re.MULTILINE)
    }
)
TARGETS = sorted(
    {
        (name, target)
        for name, block in blocks("sh")
        for target in re.findall(r"^make ([\w-]+)", block, re.MULTILINE)
    }
)
SUITES = re.findall(r"<<'END'\n(.*?)^END", REFERENCE, re.DOTALL | re.MULTILINE)
LINKS = sorted(
    {
        (name, target)
        for name, text in TEXTS.items()
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in target
    }
)


def completed(block: dict[str, Any]) -> dict[str, Any]:
    """A whole sweep file of what a block shows of one."""
    shown = block.get("experiment", {})
    whole = {**TINY["experiment"], **shown} if "teacher" not in shown else {**shown}
    rest = {
        "name": "shown",
        "experiment": {"training": {"epochs": 1}, **whole},
        "evaluate": {},
        "seeds": 1,
    }
    return {**rest, **{key: value for key, value in block.items() if key != "experiment"}}


@pytest.mark.parametrize(("name", "block"), SWEEPS)
def test_what_is_shown_of_sweep_files_is_valid(name: str, block: str, tmp_path: Path) -> None:
    read = parse_text(block, name)
    assert read == yaml.safe_load(block) or "/" in block
    whole = completed(read)
    save_weights(whole["experiment"], tmp_path)
    assert sweep_from(whole, folder=tmp_path).spaces


def save_weights(experiment: Any, folder: Path) -> None:
    """Have the file of weights that a block names be there."""
    teacher = experiment.get("teacher")
    if not isinstance(teacher, dict) or "weights" not in teacher:
        return
    data = parse(AnyData, experiment["data"])  # type: ignore[arg-type]  # a union of types
    model = parse(AnyModel, teacher["model"])  # type: ignore[arg-type]
    path = folder / teacher["weights"]
    path.parent.mkdir(exist_ok=True)
    torch.save(model.build(data.shape, data.classes).state_dict(), path)


def test_the_front_page_shows_the_quickstart() -> None:
    ((_, block),) = (each for each in SWEEPS if each[0] == "README.md")
    assert parse_text(block, "README.md") == read_yaml(ROOT / "sweeps" / "quickstart.yaml")


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_shown_of_suites_is_valid(suite: str) -> None:
    assert parse(Suite, {"suite": parse_text(suite, "suite.yaml")}).suite


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_the_commands_that_are_shown_are_known(name: str, command: str) -> None:
    assert build_parser().parse_args(shlex.split(command)).command


@pytest.mark.parametrize(("name", "target"), TARGETS)
def test_what_is_made_can_be_made(name: str, target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results as the quickstart names them, and the shipped sweeps."""
    folder = tmp_path_factory.mktemp("readme")
    write_made(folder / "results", Made(sweep="quickstart"))
    (folder / "sweeps").symlink_to(ROOT / "sweeps")
    return folder


@pytest.mark.parametrize(("name", "block"), blocks("python"))
def test_the_python_that_is_shown_runs(
    name: str, block: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(kdray, "run", lambda sweep, results: None, raising=False)
    monkeypatch.syspath_prepend(ROOT / "sweeps" / "plugins")
    exec(compile(block, name, "exec"), {})  # noqa: S102
    sys.modules.pop("my_lab", None)


@pytest.mark.parametrize(("name", "block"), blocks("sql"))
def test_the_sql_that_is_shown_runs(
    name: str, block: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert duckdb.sql(block).fetchall()


def test_the_sql_leaves_out_what_the_file_no_longer_asks_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = shutil.copytree(folder / "results", tmp_path / "results")
    members = pd.read_parquet(results / "members")
    dropped = members[members["role"] == "student"].tail(1)
    later = dropped["written_at"] + pd.Timedelta(days=1)
    rows = dropped.assign(outcome="not needed", written_at=later)
    rows.to_parquet(results / "members" / "later.parquet")
    frame = kdray.open_results(folder / "results").frame("quickstart")
    kept = frame[(frame["role"] == "student") & ~frame["trial_id"].isin(dropped["trial_id"])]
    means = kept.groupby("noise.input.sigma", dropna=False)["pgd20.accuracy"].mean()
    monkeypatch.chdir(tmp_path)
    ((_, block),) = blocks("sql")
    assert dict(duckdb.sql(block).fetchall()) == pytest.approx(means.to_dict())


@pytest.mark.parametrize("name", TEXTS)
def test_its_tables_are_those_of_the_code(name: str) -> None:
    assert made(TEXTS[name]) == TEXTS[name], "python -m tests.readme writes them"


def test_every_table_stands_somewhere_once() -> None:
    assert sorted(table for text in TEXTS.values() for table in tables_in(text)) == sorted(MADE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_the_reference_has_a_meaning(kind: str) -> None:
    rows = [line.split(" | ") for line in MADE[f"fields of {kind}"]().splitlines()]
    assert [row for row in rows if row[-1].strip(" |") == ""] == []


def test_every_key_at_the_top_of_a_sweep_file_is_in_the_reference() -> None:
    for key in keys(KINDS["file"]):
        assert f"| `{key}` |" in REFERENCE


@pytest.mark.parametrize(("name", "target"), LINKS)
def test_links_lead_somewhere(name: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    place = (ROOT / name).parent / path if path else ROOT / name
    assert place.exists()
    if anchor:
        assert anchor in anchors(place.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links to them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


NOT_CODE = re.compile(r"<!-- made: .*?<!-- /made -->|```.*?```|\[`[^`]*`\]", re.DOTALL)
"""Tables that are made, blocks and links, all of which are checked otherwise."""
PATH = re.compile(r"`([a-zA-Z_.][\w.\-]*/[\w./\-]*|[\w.\-]+\.(?:py|yaml|ipynb|csv|md))(?::\w+)?`")
ELSEWHERE = {"results", "bench", "train", "test", "js"}
"""Folders that are made by a command, a user's own, or in another package."""


@pytest.mark.parametrize("name", TEXTS)
def test_the_files_that_are_named_exist(name: str) -> None:
    """A path is one below the page, the repository or the package."""
    bases = ((ROOT / name).parent, ROOT, ROOT / "kdray")
    named = [path for path in PATH.findall(NOT_CODE.sub("", TEXTS[name])) if "NAME" not in path]
    assert [
        path
        for path in named
        if path.split("/")[0] not in ELSEWHERE and not any((base / path).exists() for base in bases)
    ] == []


def test_the_front_page_is_two_screens() -> None:
    lines = [re.sub(r"\]\([^)]*\)", "]", line) for line in TEXTS["README.md"].splitlines()]
    assert len(lines) <= 115
    assert max(map(len, lines)) <= 100
    assert len(TEXTS["README.md"].encode()) < 8000


def test_there_is_something_to_check() -> None:
    assert len(SWEEPS) >= 5
    assert len(COMMANDS) >= 20
    assert len(SUITES) == 1
    assert len(LINKS) >= 20
    assert len(blocks("python")) >= 4
    assert len(blocks("sql")) == 1
