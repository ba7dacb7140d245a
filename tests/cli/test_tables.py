"""The table that is printed says of how many seeds each number is."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from kdray.cli.tables import print_points
from kdray.results.points.objective import Objective
from tests.report.page.small import Small


def test_a_number_of_fewer_seeds_than_its_row_says_of_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Small(tmp_path)
    ids = made.point(0, [0.7, 0.8, 0.9])
    for trial, value in zip(ids, (0.5, 0.6), strict=False):
        made.number(trial, "pgd20", "pgd", value)
    made.written()
    print_points(str(tmp_path), "s")
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│"))
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[1] == "3"
    assert cells[3:] == ["0.800 ± 0.100", "0.700 ± 0.100", "0.550 ± 0.071 (n = 2)"]


LONG = ("model.dropout", "training.epochs", "training.batch_size", "training.clip_grad_norm")
LONG += ("method.label_smoothing", "training.optimizer.learning_rate")
LONG += ("training.optimizer.momentum", "training.optimizer.weight_decay", "model.hidden[0]")


def table_of(made: Small, capsys: pytest.CaptureFixture[str]) -> tuple[list[list[str]], str]:
    """The cells of the printed table, a list for each line, headings first, and all the output."""
    made.written()
    print_points(str(made.path), made.sweep)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line[:1] in "┃│"]
    return [[cell.strip() for cell in re.split("[┃│]", line)[1:-1]] for line in lines], out


def test_columns_are_told_apart_though_labels_are_called_like_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="best.accuracy"))
    ids = made.point(0, [0.7, 0.8], {"training.optimizer.learning_rate": 0.05})
    for label, value in (("best", 0.25), ("learning_rate", 0.5), ("n", 0.75)):
        made.numbers_of(ids, label, "clean", value)
    (headings, row), _ = table_of(made, capsys)
    assert len(set(headings)) == len(headings)
    cells = dict(zip(headings, row, strict=True))
    assert (cells["learning_rate"], cells["n"], cells["best"]) == ("0.05", "2", "*")
    assert cells["best.accuracy"] == "0.250 ± 0.000"
    assert cells["learning_rate.accuracy"] == "0.500 ± 0.000"
    assert cells["n.accuracy"] == "0.750 ± 0.000"


def test_a_swept_leaf_called_best_is_not_the_star(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Small(tmp_path)
    made.point(0, [0.7], {"training.keep.best": "a.accuracy"})
    made.point(1, [0.8], {"training.keep.best": "b.accuracy"})
    (headings, *rows), _ = table_of(made, capsys)
    assert headings[:4] == ["point", "keep.best", "n", "best"]
    assert [row[:4] for row in rows] == [
        ["0", "a.accuracy", "1", ""],
        ["1", "b.accuracy", "1", "*"],
    ]


@pytest.mark.parametrize("on_terminal", [True, False])
def test_leaves_and_objective_are_readable_on_a_narrow_terminal(
    on_terminal: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Small(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_terminal)
    made.aim(Objective(metric="pgd20.accuracy"))
    for point in (0, 1):
        ids = made.point(point, [0.7, 0.8], dict.fromkeys(LONG, 0.0123456 + point))
        made.numbers_of(ids, "pgd20", "pgd", 0.25 * (1 + point))
    lines, out = table_of(made, capsys)
    assert max(len(line) for line in out.splitlines() if line[0] in "┏│") <= (
        80 if on_terminal else 200
    )
    for path in LONG:
        assert path.rpartition(".")[2] in out
    assert ("swept" in lines[0]) == on_terminal
    if on_terminal:
        assert "learning_rate=1.01235" in out, "a value is not parted from its name"
        assert lines[0][-2:] == ["best", "pgd20"]
        assert "more numbers" in out
    assert "0.250 ± 0.000" in out
    assert [line[-2:] for line in lines if "*" in line] == [
        ["*", "0.500 ± 0.000"]
    ] or not on_terminal
