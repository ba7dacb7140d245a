"""The printed numbers are read by paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.report import published


def test_rows_of_one_paper(tmp_path: Path) -> None:
    file = tmp_path / "published.csv"
    file.write_text("paper,item,row,column,value,unit\na,table 1,x,y,1.5,%\nb,text,x,y,2,%\n")
    assert published("a", file)["value"].tolist() == [1.5]


def test_without_the_file_nothing_is_published(tmp_path: Path) -> None:
    assert published("a", tmp_path / "absent.csv").empty


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "published.csv"
    file.write_text("paper,item,row,value,unit\n")
    with pytest.raises(InputError, match="column"):
        published("a", file)
