"""Output survives a reader that leaves early and a terminal that lacks our characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper


def escape_unknown_characters() -> None:
    """Write what stdout's encoding lacks as stderr does, escaped, instead of failing."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Leave the block, and be silent from then on, once nobody reads the output any more: ``kdray
    status results | head``."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_what_nobody_reads()


def _discard_what_nobody_reads() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
