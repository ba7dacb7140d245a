"""A sweep leaves its results in few files: what its trials have written is merged while others run,
and at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kdray.core import describe
from kdray.results import TABLES, Store, TableName
from kdray.results.files.compact import merge_small
from kdray.sweep.inventory.trials import TrialIndex

MOST = 256
"""So many small files of one table there may be while trials run, …"""
MOST_AT_END = 64
"""… and so many may stay: a small sweep is not touched."""
EVERY = 30.0
"""Seconds between two looks at the folder."""


class Merging:
    """Merges the small files of a results folder inside the block, in a thread, and once more when
    it ends well.

    The driver does so: its trials and readers need not know, and it may be killed at any time.
    Where it cannot write, that is told once, and the files stay as they are.
    """

    def __init__(self, store: Store, ledger: TrialIndex, warn: Callable[[str], None]) -> None:
        self._store, self._ledger, self._warn = store, ledger, warn
        self._left: dict[TableName, set[str]] = {table: set() for table in TABLES}
        """Files that cannot be merged."""
        self._failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="kdray-merging", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if kind is None:
            self.merge(MOST_AT_END, frozenset())

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            # What runs may be written anew, also if it has a file from before.
            self.merge(MOST, frozenset(self._ledger.busy))

    def merge(self, most: int, busy: frozenset[str]) -> None:
        """Merge the small files of each table that has more than ``most``, but for those of the
        trials ``busy``."""
        for table in TABLES:
            if self._failed:
                return
            try:
                self._left[table] |= merge_small(
                    self._store, table, most, busy=busy, left=self._left[table]
                )
            except Exception as error:  # the results are there, only in more files
                self._failed = True
                self._warn(
                    f"{self._store.place}/{table}: its files cannot be merged "
                    f"({describe(error)}); 'kdray compact' does"
                )
