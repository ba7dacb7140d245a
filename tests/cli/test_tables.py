"""The table that is printed says of how many seeds each number is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.cli.tables import print_points
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
