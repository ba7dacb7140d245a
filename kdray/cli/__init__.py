"""The command line: parsing and printing only. ``parser`` says what it takes, ``commands`` has a
module for each command, which is imported when it is chosen."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import NoReturn

from kdray.cli.exit_codes import FAILED, INTERRUPTED, OK, WRONG_INPUT
from kdray.cli.output import (
    complain,
    escape_unknown_characters,
    reader_may_leave,
    replace_closed_outputs,
)
from kdray.cli.parser import build_parser
from kdray.core import InputError
from kdray.core.garbage import gc_threshold
from kdray.results.files.location import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    if arguments is None:
        replace_closed_outputs()
        escape_unknown_characters()
    status = OK  # of a command whose reader has seen enough
    with reader_may_leave():
        status = _run(arguments)
    if arguments is None and status == INTERRUPTED:
        _end_at_once(status)
    return status


def _run(arguments: Sequence[str] | None) -> int:
    parser, goes_on = build_parser(), ""
    try:
        chosen = parser.parse_args(arguments)
        if chosen.command in ("run", "evaluate"):
            goes_on = "; what is finished is kept, the same command goes on"
        with sigterm_as_interrupt(), warnings.catch_warnings(), gc_threshold():
            warnings.showwarning = show_warning
            chosen.own_process = arguments is None
            load_plugins(chosen)
            command = import_module(f"kdray.cli.commands.{chosen.command}")
            return int(command.execute(chosen))
    except InputError as error:
        complain(f"kdray: {' '.join(str(error).split())}")
        return WRONG_INPUT
    except UnicodeEncodeError as error:
        problem = f"{error.object!r} cannot be encoded"
        complain(f"kdray: {problem}; a locale with UTF-8, or PYTHONUTF8=1, helps")
        return WRONG_INPUT
    except KeyboardInterrupt:
        if arguments is None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is ending
        again = shlex.join(
            ["kdray", *map(printable, sys.argv[1:] if arguments is None else arguments)]
        )
        complain(f"\nkdray: interrupted; what is finished is kept. To go on:  {again}")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, an object store that stays away
        complain(f"kdray: {' '.join(str(error).split())}{goes_on}")
        return FAILED


def _end_at_once(status: int) -> NoReturn:
    """End the process without unloading it: threads of libraries that were interrupted in the
    middle of their work can crash then. Everything that has an end of its own has come to it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def load_plugins(chosen: argparse.Namespace) -> None:
    """Load the plug-ins that the command names, before it reads what may speak of them. Those of
    the environment are loaded by what reads a sweep."""
    for named in getattr(chosen, "plugin", ()):
        from kdray.sweep.definition.plugins import load_plugin  # and with it torch

        load_plugin(named)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning in one line; where in the code it was raised does not help a user."""
    complain(f"kdray: warning: {message}")


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C: cleanly, with the line that says how to go on."""

    def stop(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
