"""How often Python looks for garbage among all objects that there are."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 50_000
"""New ones after which it looks; by default hundreds. What a command imports and what Tune keeps of
every trial stays: to look through it again and again takes a tenth of a command's time, and of the
driver's for each trial."""


@contextmanager
def gc_threshold() -> Iterator[None]:
    """Within it Python looks for garbage after :data:`OBJECTS` new objects."""
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
