"""The numbers that the papers print, from ``analysis/published.csv``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kdray.core import InputError

PUBLISHED = Path(__file__).parents[3] / "analysis" / "published.csv"
COLUMNS = ["paper", "item", "row", "column", "value", "unit"]


def published(paper: str, file: Path = PUBLISHED) -> pd.DataFrame:
    """The rows of ``paper``: ``item`` ("table 1", "text"), ``row`` (as printed), ``column``,
    ``value``, ``unit``.

    None without the file, which an installed package does not have.
    """
    if not file.exists():
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.read_csv(file)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise InputError(f"{file}: no column {', '.join(missing)}")
    return rows[rows["paper"].eq(paper)].reset_index(drop=True)
