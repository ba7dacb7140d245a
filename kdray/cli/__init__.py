"""The command line: parsing and printing only. Here is what it takes; ``commands`` and its
neighbours do it."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from kdray.cli import commands
from kdray.cli.compacting import compact
from kdray.cli.datasets import data
from kdray.cli.exporting import add_arguments as add_export_arguments
from kdray.cli.exporting import export
from kdray.cli.output import escape_unknown_characters, reader_may_leave
from kdray.cli.reporting import add_arguments as add_report_arguments
from kdray.cli.reporting import report
from kdray.cli.status import FAILED, INTERRUPTED, OK, WRONG_INPUT
from kdray.core import InputError
from kdray.core.garbage import gc_threshold


def _number(kind: type[int] | type[float], least: float, wanted: str) -> Callable[[str], Any]:
    """A reader of numbers for argparse."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read


_COUNT = _number(int, 1, "a whole number from 1")
_COUNT_OR_NONE = _number(int, 0, "a whole number from 0")
_CPUS = _number(float, 0.001, "a number above 0")
_SHARE = _number(float, 0, "a number from 0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    if arguments is None:
        escape_unknown_characters()
    status = OK  # of a command whose reader has seen enough
    with reader_may_leave():
        status = _run(arguments)
    return status  # noqa: RET504  # it stays where the last flush fails


def _run(arguments: Sequence[str] | None) -> int:
    parser, goes_on = build_parser(), ""
    try:
        chosen = parser.parse_args(arguments)
        if chosen.command in (commands.run, commands.evaluate):
            goes_on = "; what is finished is kept, the same command goes on"
        with sigterm_as_interrupt(), warnings.catch_warnings(), gc_threshold():
            warnings.showwarning = show_warning
            chosen.own_process = arguments is None
            return int(chosen.command(chosen))
    except InputError as error:
        _complain(f"kdray: {' '.join(str(error).split())}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        from kdray.results.files.store import shown

        again = shlex.join(["kdray", *map(shown, sys.argv[1:] if arguments is None else arguments)])
        _complain(f"\nkdray: interrupted; what is finished is kept. To go on:  {again}")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, an object store that stays away
        _complain(f"kdray: {' '.join(str(error).split())}{goes_on}")
        return FAILED


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning in one line; where in the code it was raised does not help a user."""
    _complain(f"kdray: warning: {message}")


def _complain(text: str) -> None:
    with reader_may_leave():
        print(text, file=sys.stderr)


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


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help shows what is allowed)")


def build_parser() -> Parser:
    from kdray import __version__

    parser = Parser(
        prog="kdray",
        description="Sweeps of noisy and robust knowledge distillation, run on Ray.",
        epilog="example: kdray run sweeps/quickstart.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kdray {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )

    def add(name: str, function: Any, text: str, example: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            epilog=f"example: {example}",
            allow_abbrev=False,
        )
        command.set_defaults(command=function)
        return command

    running = add(
        "run",
        commands.run,
        "run a sweep: whatever its results lack",
        "kdray run sweeps/quickstart.yaml --results results",
    )
    _sweep_arguments(running)
    _ray_arguments(running)
    running.add_argument(
        "--retry-failed", action="store_true", help="try failed and diverged trials again"
    )

    planning = add(
        "plan",
        commands.plan,
        "say what run would do; train nothing",
        "kdray plan sweeps/quickstart.yaml",
    )
    _sweep_arguments(planning)
    _local_arguments(planning)
    planning.add_argument(
        "--retry-failed", action="store_true", help="count failed and diverged trials as to be run"
    )

    status_ = add(
        "status",
        commands.status,
        "say how the sweeps in a results folder stand",
        "kdray status results",
    )
    status_.add_argument("results", metavar="DIR", help="results folder")
    status_.add_argument(
        "trial_id",
        metavar="TRIAL_ID",
        nargs="?",
        help="one trial; the first letters of its id will do",
    )
    status_.add_argument("--trials", action="store_true", help="list every trial with its id")

    evaluating = add(
        "evaluate",
        commands.evaluate,
        "measure new evaluations on stored weights",
        "kdray evaluate results --suite suite.yaml",
    )
    evaluating.add_argument("results", metavar="DIR", help="results folder")
    evaluating.add_argument(
        "--suite", metavar="FILE", required=True, help="YAML list of evaluations, or a sweep's file"
    )
    evaluating.add_argument(
        "--trial", metavar="ID", action="append", help="only this trial (repeatable)"
    )
    evaluating.add_argument(
        "--role", choices=["teacher", "student"], help="only trials in this role"
    )
    evaluating.add_argument(
        "--cpu", metavar="N", type=_CPUS, default=1.0, help="CPUs per trial (1)"
    )
    evaluating.add_argument(
        "--gpu", metavar="F", type=_SHARE, default=0.0, help="part of a GPU per trial (0)"
    )
    evaluating.add_argument(
        "--retry-failed", action="store_true", help="try failed evaluations again"
    )
    evaluating.add_argument(
        "--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )
    _ray_arguments(evaluating)

    add_report_arguments(
        add(
            "report",
            report,
            "make one page of all that the results say",
            "kdray report results --out report.html",
        )
    )
    add_export_arguments(
        add(
            "export",
            export,
            "take a trained model out, with a model card",
            "kdray export results 3f2a --format onnx",
        )
    )

    compacting = add(
        "compact",
        compact,
        "put the many files of results into few, which open faster",
        "kdray compact results",
    )
    compacting.add_argument("results", metavar="DIR", help="results folder or URI")

    forgetting = add(
        "forget",
        commands.forget,
        "delete trials and all that was measured of them",
        "kdray forget results 3f2a 91c0",
    )
    forgetting.add_argument("results", metavar="DIR", help="results folder")
    forgetting.add_argument(
        "trial_ids",
        metavar="TRIAL_ID",
        nargs="+",
        help="the first letters of an id will do ('kdray status DIR --trials')",
    )

    listing = add("list", commands.list_, "list what a sweep file can name", "kdray list methods")
    listing.add_argument("what", choices=["models", "methods", "noise", "datasets", "evaluations"])

    data_ = add("data", data, "fetch or check a data set", "kdray data mnist --data ~/datasets")
    data_.add_argument(
        "name", metavar="NAME", help="mnist, usps, cifar10, …: 'kdray list datasets' names all"
    )
    data_.add_argument(
        "--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )
    data_.add_argument("--check", action="store_true", help="check only, fetch nothing")

    examining = add(
        "doctor",
        commands.doctor,
        "say what works on this machine, and what to do about the rest",
        "kdray doctor",
    )
    examining.add_argument(
        "--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )
    return parser


def _sweep_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("sweep", metavar="SWEEP.yaml", help="sweep file")
    command.add_argument(
        "--results", metavar="DIR", default="results", help="results folder or URI (results)"
    )
    command.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value (repeatable)",
    )
    command.add_argument(
        "--smoke", action="store_true", help="shrink it to about a minute; results in DIR-smoke"
    )
    command.add_argument(
        "--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )


def _ray_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--address", metavar="ADDR", help="a running Ray cluster (auto: the one on this machine)"
    )
    _local_arguments(command)


def _local_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-concurrent", metavar="N", type=_COUNT, help="at most so many trials at once"
    )
    command.add_argument("--cpus", metavar="N", type=_COUNT, help="CPUs of the local Ray (all)")
    command.add_argument(
        "--gpus", metavar="N", type=_COUNT_OR_NONE, help="GPUs of the local Ray (all)"
    )
