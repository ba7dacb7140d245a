"""What the name of a results file says about its rows, and whether they agree.

A file that one act wrote is named by ids. One that holds another act's rows under such a name,
after a copy that went wrong, is as good as damaged: the rows that its name says are missing. Files
say themselves under which name they were written; of earlier ones the columns tell it in part.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

_ID = "[0-9a-f]{16}"
_SWEEP = r"(?P<sweep>[A-Za-z0-9][A-Za-z0-9_.\-]*)"
"""The name of a sweep: a file whose name begins otherwise (with a word and a space, say) was named
by people."""
_TRAINING = "-training"
"""Ends the name of a file with what was measured while a network trained."""
_NAMES: Mapping[str, tuple[re.Pattern[str], ...]] = {
    table: tuple(map(re.compile, patterns))
    for table, patterns in (
        ("trials", [f"(?P<trial_id>{_ID})"]),
        ("epochs", [f"(?P<trial_id>{_ID})"]),
        (
            "robustness",
            [
                f"(?P<trial_id>{_ID}){_TRAINING}",
                f"(?P<trial_id>{_ID})-(?P<evaluation_id>{_ID})",
                f"(?P<source_trial_id>{_ID})-(?P<evaluation_id>{_ID})-{_ID}",
            ],
        ),
        (
            "members",
            [
                f"{_SWEEP}-(?P<role>teacher)-(?P<trial_id>{_ID})",
                rf"{_SWEEP}-(?P<point>\d+)-(?P<trial_id>{_ID})",
                f"{_SWEEP}-driver-{_ID}(?:{_ID})?",
            ],
        ),
    )
}
"""By table: the names of the files that hold the rows of one act, by column. Merged files, and
those that people named, may hold the rows of many."""
WRITTEN_AS = b"kdray_file"
"""Key of a file's metadata with the name that it was written under; files of before lack it."""
_NAMES_THAT_ARE_SAID = re.compile(rf"members/{_SWEEP}-driver-{_ID}{_ID}\.parquet")
"""The driver's files have names of this form since files say theirs: no column tells which of the
driver's acts wrote a row."""
_COLUMNS_OF_EVERY_FILE: Mapping[str, tuple[str, ...]] = {
    "trials": ("trial_id", "status"),
    "epochs": ("trial_id", "stage", "epoch"),
    "robustness": ("trial_id", "evaluation_id", "metric"),
    "members": ("sweep", "trial_id", "outcome"),
}
"""By table: columns that every version's files have, and that no other table's files all have."""


@cache
def columns_in_name(name: str) -> Mapping[str, str]:
    """The columns whose value in all rows of a file its name says: column to value."""
    path = PurePosixPath(name)
    for pattern in _NAMES.get(path.parts[0], ()):
        if found := pattern.fullmatch(path.stem):
            return found.groupdict()
    return {}


def check_columns_of_table(name: str, columns: Collection[str]) -> None:
    """Raise ValueError if a file in the folder of one table lacks the columns of that table."""
    table = name.partition("/")[0]
    lacking = [each for each in _COLUMNS_OF_EVERY_FILE.get(table, ()) if each not in columns]
    if lacking:
        raise ValueError(f"it is no part of {table}, which have {', '.join(lacking)}")


def check_written_name(name: str, metadata: Mapping[bytes, bytes]) -> None:
    """Raise ValueError if a file that one act wrote says that it was written under another name
    than ``name``, or says none where it must."""
    written = metadata.get(WRITTEN_AS)
    if written is None and _NAMES_THAT_ARE_SAID.fullmatch(name):
        raise ValueError("it does not say the name that it was written under")
    if written not in (None, name.encode()) and columns_in_name(name):
        raise ValueError(f"it was written as {written.decode()}")


def check_rows(name: str, rows: pa.Table) -> None:
    """Raise ValueError if ``rows`` are of something else than the file's name says, as far as
    their columns tell."""
    for column, value in columns_in_name(name).items():
        at = rows.schema.get_field_index(column)
        if at < 0:
            continue
        cells = rows.column(at)
        # Most files have one row, of which this takes a tenth of the time.
        for held in [cells[0].as_py()] if len(cells) == 1 else cells.unique().to_pylist():
            _check(column, value, held)
    if (at := rows.schema.get_field_index("epoch")) >= 0:
        nulls = rows.column(at).null_count
        _check_moment(name, with_epoch=len(rows) - nulls, without=nulls)


def check_statistics(name: str, file: pq.FileMetaData, schema: pa.Schema) -> None:
    """Raise ValueError if the statistics of any row group say that it holds something else than
    the file's name says; of a large file, of which not all is read."""
    for column, value in columns_in_name(name).items():
        at = schema.get_field_index(column)
        for group in range(file.num_row_groups if at >= 0 else 0):
            statistics = file.row_group(group).column(at).statistics
            if statistics is None or not statistics.has_min_max:
                continue
            for each in (statistics.min, statistics.max):
                _check(column, value, each)
    at = schema.get_field_index("epoch")
    for group in range(file.num_row_groups if at >= 0 else 0):
        statistics = file.row_group(group).column(at).statistics
        if statistics is not None and statistics.has_null_count:
            _check_moment(name, with_epoch=statistics.num_values, without=statistics.null_count)


def _check(column: str, value: str, held: object) -> None:
    """Raise ValueError unless ``held`` is the ``value`` that the name says."""
    if str(held) != value:
        raise ValueError(f"its rows are of {column} {held}, its name says otherwise")


def _check_moment(name: str, *, with_epoch: int, without: int) -> None:
    """Raise ValueError if a file of what was measured while a network trained has rows of no epoch,
    or one of what was measured of the trained network has rows of an epoch."""
    if not name.startswith("robustness/") or not columns_in_name(name):
        return
    is_training = PurePosixPath(name).stem.endswith(_TRAINING)
    if without and is_training:
        raise ValueError("its rows are of a trained network, its name says otherwise")
    if with_epoch and not is_training:
        raise ValueError("its rows are of epochs of a training, its name says otherwise")
