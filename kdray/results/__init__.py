"""Results on disk and in pandas. Loads neither torch nor ray, so that reading is quick everywhere.

The parts are imported when they are first used: a sweep's objectives need no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdray.results.columns import Column
    from kdray.results.files.store import Store
    from kdray.results.files.warn import (
        ConflictingRows,
        DamagedFile,
        SelectedOnTest,
        SeveralDevices,
        SeveralMachines,
        SeveralTeachers,
    )
    from kdray.results.files.write import Row, write_rows
    from kdray.results.filters import Where
    from kdray.results.results import Results, has_completed, open_results
    from kdray.results.schema import SCHEMA_VERSION, TABLES, TableName

__all__ = [
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "ConflictingRows",
    "DamagedFile",
    "Results",
    "Row",
    "SelectedOnTest",
    "SeveralDevices",
    "SeveralMachines",
    "SeveralTeachers",
    "Store",
    "TableName",
    "Where",
    "has_completed",
    "open_results",
    "write_rows",
]

_HOME = {
    "Store": "files.store",
    "ConflictingRows": "files.warn",
    "DamagedFile": "files.warn",
    "SelectedOnTest": "files.warn",
    "SeveralDevices": "files.warn",
    "SeveralMachines": "files.warn",
    "SeveralTeachers": "files.warn",
    "Row": "files.write",
    "write_rows": "files.write",
    "Where": "filters",
    "Results": "results",
    "has_completed": "results",
    "open_results": "results",
    "SCHEMA_VERSION": "schema",
    "TABLES": "schema",
    "Column": "columns",
    "TableName": "schema",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"kdray.results.{_HOME[name]}"), name)
    raise AttributeError(f"module 'kdray.results' has no attribute {name!r}")
