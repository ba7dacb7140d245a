"""What a column of a table is: its name, role, type, unit and meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import pyarrow as pa


class ColumnRole(StrEnum):
    """What a column is for. Which rows are copies of each other follows from it, hence what a
    reader drops and what compaction may delete."""

    KEY = "key"
    """Rows with the same keys were written by one act; of several such acts the newest counts."""
    AXIS = "axis"
    """Tells the rows of one act apart; a number has a name for every value of it."""
    MEASURE = "measure"
    """What was found: the same act, done again, finds it again."""
    NOTE = "note"
    """All else: texts for people, times, machines."""


KEY, AXIS, MEASURE, NOTE = ColumnRole


class Column(NamedTuple):
    """One column of a table."""

    name: str
    role: ColumnRole
    type: pa.DataType
    unit: str = ""
    meaning: str = ""
    part: bool = False
    """Of an axis: whether a number that has it is about a part of the data or of the model, or
    about an epoch of the training."""
