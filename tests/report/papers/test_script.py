"""A script writes what it can draw, says what it cannot, and refuses what is no results."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.report import Figure, Missing, Snapshot, Table, labelled, panels, run
from kdray.report.papers.script import drawn
from tests.analysis.rows import Folder


def picture(snapshot: Snapshot) -> Figure:
    figure, (axes,) = panels()
    labelled(axes, "x", ", ".join(snapshot.sweeps))
    return Figure("picture", "A picture", "What it shows.", figure)


def several(snapshot: Snapshot) -> list[Table | Missing]:
    del snapshot
    return [
        Table("table", "A table", "What is in it.", pd.DataFrame({"a": [1]})),
        Missing("gone", "Gone", "run it first"),
    ]


def impossible(snapshot: Snapshot) -> Figure:
    """What cannot be drawn.

    More about it.
    """
    raise InputError(f"nothing in {len(snapshot.sweeps)} sweep")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = Folder(tmp_path / "results")
    folder.trial("sweep", 0, 0, test_accuracy=0.5)
    folder.written()
    return folder.path


def test_everything_is_written_said_and_shown_on_one_page(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            "The paper",
            [picture, several, impossible],
            [str(results), "--out", str(tmp_path / "new" / "out")],
        )
        == 0
    )
    written = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert written == {
        "picture.pdf",
        "picture.svg",
        "picture.png",
        "table.csv",
        "table.tex",
        "README.md",
    }
    assert capsys.readouterr().out.splitlines() == [
        "picture: picture.pdf, picture.svg, picture.png",
        "table: table.csv, table.tex",
        "gone: run it first",
        "impossible: nothing in 1 sweep",
    ]
    page = (tmp_path / "new" / "out" / "README.md").read_text()
    assert page.startswith(
        "# The paper\n\n## A picture\n\n![A picture](picture.png)\n\nWhat it shows."
    )
    assert "| a |\n| ---: |\n| 1 |\n\nWhat is in it." in page
    assert page.endswith(
        "## Gone\n\n*Not drawn: run it first*\n\n## What cannot be drawn\n\n*Not drawn: "
        "nothing in 1 sweep*\n"
    )


def test_a_missing_figure_is_named_after_its_function() -> None:
    class Nothing:
        sweeps = ("one",)

    assert drawn(impossible, Nothing()) == [
        Missing("impossible", "What cannot be drawn", "nothing in 1 sweep")
    ]


def test_a_mistake_in_a_figure_is_not_hidden(results: Path, tmp_path: Path) -> None:
    def wrong(_: Snapshot) -> Figure:
        raise KeyError("column")

    with pytest.raises(KeyError):
        run("The paper", [wrong], [str(results), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("there", ["nothing", "empty", "teachers"])
def test_no_students_are_one_clear_line(
    there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "results")
    if there == "teachers":
        folder.trial("sweep", 0, 0, role="teacher")
    if there != "nothing":
        folder.written()
    assert run("The paper", [picture], [str(folder.path), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert str(folder.path) in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_a_warning_and_the_rest_is_drawn(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "trials" / "broken.parquet").write_bytes(b"PAR1 no")

    def twice(snapshot: Snapshot) -> Figure:
        assert len(snapshot.trials) == 1
        return picture(snapshot)

    with warnings.catch_warnings():
        assert run("The paper", [twice], [str(results), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count("broken.parquet") == 1


def test_reports_load_neither_torch_nor_ray_nor_a_window_system() -> None:
    heavy = "torch", "ray", "optuna", "matplotlib.pyplot"
    told = f"import sys, kdray.report; print([name for name in {heavy} if name in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", told], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
