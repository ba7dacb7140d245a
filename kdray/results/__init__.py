"""Results on disk and in pandas. Loads neither torch nor ray, so that reading is quick everywhere."""

from kdray.results.points import best_points, points
from kdray.results.reader import ConflictingRows, DamagedFile, Results, has_completed, open_results
from kdray.results.schema import SCHEMA_VERSION, TABLES, Column, TableName
from kdray.results.store import Store
from kdray.results.writer import Row, write_rows

__all__ = [
    "SCHEMA_VERSION", "TABLES", "Column", "ConflictingRows", "DamagedFile", "Results", "Row", "Store", "TableName",
    "best_points", "has_completed", "open_results", "points", "write_rows",
]  # fmt: skip
