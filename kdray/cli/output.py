"""Output survives a reader that leaves early and a terminal that lacks our characters."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path


def replace_closed_outputs() -> None:
    """Put a stream that drops everything in the place of stdout or stderr, where a process was
    started without one (``kdray status results >&-``)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def escape_unknown_characters() -> None:
    """Write what stdout's encoding lacks as stderr does, escaped, instead of failing."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write_text(text: str, file: str | None) -> None:
    """Write a command's result to ``file``; none: to stdout."""
    if file is None:
        print(text)
    else:
        Path(file).expanduser().write_text(f"{text}\n", encoding="utf-8")


def complain(text: str) -> None:
    """Print on stderr what a user should know on the way; though nobody reads it, a command goes on
    with its work and keeps its exit status."""
    with reader_may_leave():
        print(text, file=sys.stderr)


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
