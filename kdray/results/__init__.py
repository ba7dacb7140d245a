"""Results on disk and in pandas. Loads neither torch nor ray, so that reading is quick
everywhere."""

from kdray.results.filters import Where
from kdray.results.points import best_points, points
from kdray.results.reader import Results, has_completed, open_results
from kdray.results.schema import SCHEMA_VERSION, TABLES, Column, TableName
from kdray.results.store import Store
from kdray.results.warn import ConflictingRows, DamagedFile, SelectedOnTest
from kdray.results.writer import Row, write_rows

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "ConflictingRows",
    "DamagedFile",
    "Results",
    "Row",
    "SelectedOnTest",
    "Store",
    "TableName",
    "Where",
    "best_points",
    "has_completed",
    "open_results",
    "points",
    "write_rows",
]
