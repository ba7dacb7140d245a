"""The driver of a sweep merges the small files that its trials write, while others run and at the
end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kdray.core import describe
from kdray.results import TABLES, Store, TableName
from kdray.results.files.compact import merge_small
from kdray.sweep.inventory.trials import TrialIndex

MAX_SMALL_FILES = 256
"""Of one table, while trials run."""
MAX_SMALL_FILES_AT_END = 64
"""Of one table, when the sweep has ended: those of a small sweep stay as they are."""
POLL_SECONDS = 30.0
"""Time between two looks at the folder."""


class Merging:
    """Merges the small files of a results folder inside the block, in a thread, and once more when
    the block ends well.

    Trials and readers need not know of it, and it may be killed at any time. Where it cannot write,
    it warns once, and the files stay as they are.
    """

    def __init__(self, store: Store, index: TrialIndex, warn: Callable[[str], None]) -> None:
        self._store, self._index, self._warn = store, index, warn
        self._unmergeable: dict[TableName, set[str]] = {table: set() for table in TABLES}
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
            self.merge(MAX_SMALL_FILES_AT_END, frozenset())

    def _watch(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            # A running trial may write its files anew, also those from before.
            self.merge(MAX_SMALL_FILES, frozenset(self._index.busy))

    def merge(self, most: int, busy: frozenset[str]) -> None:
        """Merge the small files of each table that has more than ``most`` of them, except those of
        the trials ``busy``."""
        for table in TABLES:
            if self._failed:
                return
            try:
                self._unmergeable[table] |= merge_small(
                    self._store, table, most, busy=busy, left=self._unmergeable[table]
                )
            except Exception as error:  # the results are there, only in more files
                self._failed = True
                self._warn(
                    f"{self._store.place}/{table}: its files cannot be merged "
                    f"({describe(error)}); 'kdray compact' does"
                )
