"""``kdray report`` writes a page or a table, as the ending of the file says."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from kdray.cli.commands.report import execute
from kdray.cli.parser import build_parser
from kdray.core import InputError
from tests.report.synthetic import Made, write_made


def run(*arguments: str) -> int:
    return execute(build_parser().parse_args(["report", *arguments]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_made(folder, Made(points=3, epochs=2))
    return folder


def test_a_page(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert run(str(results), "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert str(out) in capsys.readouterr().out


def test_a_table_for_pandas(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "points.csv"
    assert run(str(results), "--out", str(out)) == 0
    frame = pd.read_csv(out)
    assert frame["method.temperature"].tolist() == [1, 4, 16]
    assert {"val_accuracy", "val_accuracy std", "val_accuracy n"} <= set(frame)
    assert frame["n"].tolist() == [3, 3, 3]
    lines = [line[:5] for line in csv.reader(out.read_text(encoding="utf-8").splitlines())]
    assert lines[0] == ["point", "best", "noise.input.sigma", "method.temperature", "n"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "2"]
    assert [line[-2:] for line in lines[1:]] == [["1", "3"], ["4", "3"], ["16", "3"]]
    assert "best" in frame["best"].tolist()[1]


def test_a_table_for_latex(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "points.tex"
    assert run(str(results), "--out", str(out)) == 0
    text = out.read_text(encoding="utf-8")
    assert text.startswith(r"% needs \usepackage{booktabs}")
    assert r"\toprule" in text
    assert "\n0 & " in text
    assert r"val\_accuracy" in text
    assert r"$\pm$" in text


@pytest.mark.parametrize(
    ("out", "said"),
    [("points.xlsx", r"allowed: \.html, \.csv, \.tex"), ("nowhere/report.html", "no such folder")],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, out: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(str(tmp_path / "no-results"), "--out", str(tmp_path / out))


def test_a_table_is_of_one_sweep(tmp_path: Path) -> None:
    few = {"points": 2, "seeds": 1, "epochs": 1, "robustness": False, "teacher": False}
    write_made(tmp_path, Made(sweep="first", **few), Made(sweep="second", **few))
    with pytest.raises(InputError, match="here are first, second: choose with --sweep"):
        run(str(tmp_path), "--out", str(tmp_path / "points.csv"))
    assert run(str(tmp_path), "--sweep", "second", "--out", str(tmp_path / "points.csv")) == 0


@pytest.mark.parametrize("name", ["report.html", "points.csv", "points.tex"])
def test_damaged_files_are_told_on_the_terminal_too(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_made(
        tmp_path / "results", Made(points=2, seeds=2, epochs=1, robustness=False, teacher=False)
    )
    (tmp_path / "results" / "epochs" / "part-0.parquet").write_bytes(b"PAR1, once")
    assert run(str(tmp_path / "results"), "--out", str(tmp_path / name)) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line.startswith("kdray: warning: ")
    assert "epochs/part-0.parquet: damaged" in line
