"""The command line: parsing and printing only."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from kdray.cli.datasets import data
from kdray.cli.tables import print_points
from kdray.core import InputError
from kdray.results.store import beside, shown

if TYPE_CHECKING:
    from kdray.sweep import Options, Plan, Summary

FEW = 5
"""So many trials that failed alike are listed by their ids."""
OK, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


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
    """Run one command; the exit status."""
    parser = build_parser()
    try:
        chosen = parser.parse_args(arguments)
        with sigterm_as_interrupt(), warnings.catch_warnings():
            warnings.showwarning = show_warning
            return int(chosen.command(chosen))
    except InputError as error:
        print(f"kdray: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_INPUT
    except KeyboardInterrupt:
        again = shlex.join(["kdray", *map(shown, sys.argv[1:] if arguments is None else arguments)])
        print(f"\nkdray: interrupted; what is finished is kept. To go on:  {again}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, head for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:  # a full disk, an object store that stays away
        print(f"kdray: {' '.join(str(error).split())}; what is finished is kept, the same command goes on", file=sys.stderr)
        return FAILED


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning in one line; where in the code it was raised does not help a user."""
    print(f"kdray: warning: {message}", file=sys.stderr)


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
        prog="kdray", description="Sweeps of noisy and robust knowledge distillation, run on Ray.",
        epilog="example: kdray run sweeps/quickstart.yaml", allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"kdray {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    def add(name: str, function: Any, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            epilog=f"example: {example}",
            allow_abbrev=False,
        )
        command.set_defaults(command=function)
        return command

    running = add(
        "run", run, "run a sweep: whatever its results lack", "kdray run sweeps/quickstart.yaml --results results"
    )
    _sweep_arguments(running)
    _ray_arguments(running)
    running.add_argument("--retry-failed", action="store_true", help="try failed and diverged trials again")

    planning = add("plan", plan, "say what run would do; train nothing", "kdray plan sweeps/quickstart.yaml")
    _sweep_arguments(planning)
    _local_arguments(planning)
    planning.add_argument("--retry-failed", action="store_true", help="count failed and diverged trials as to be run")

    status_ = add("status", status, "say how the sweeps in a results folder stand", "kdray status results")
    status_.add_argument("results", metavar="DIR", help="results folder")
    status_.add_argument(
        "trial_id", metavar="TRIAL_ID", nargs="?", help="one trial; the first letters of its id will do"
    )

    forgetting = add("forget", forget, "delete trials and all that was measured of them", "kdray forget results 3f2a 91c0")
    forgetting.add_argument("results", metavar="DIR", help="results folder")
    forgetting.add_argument(
        "trial_ids", metavar="TRIAL_ID", nargs="+", help="the first letters of an id will do; 'kdray status' shows ids"
    )

    evaluating = add(
        "evaluate", evaluate, "measure new evaluations on stored weights", "kdray evaluate results --suite suite.yaml"
    )
    evaluating.add_argument("results", metavar="DIR", help="results folder")
    evaluating.add_argument(
        "--suite", metavar="FILE", required=True, help="YAML list of evaluations, or a sweep's file"
    )
    evaluating.add_argument("--trial", metavar="ID", action="append", help="only this trial (repeatable)")
    evaluating.add_argument("--role", choices=["teacher", "student"], help="only trials in this role")
    evaluating.add_argument("--cpu", metavar="N", type=_CPUS, default=1.0, help="CPUs per trial (1)")
    evaluating.add_argument("--gpu", metavar="F", type=_SHARE, default=0.0, help="part of a GPU per trial (0)")
    evaluating.add_argument("--retry-failed", action="store_true", help="try failed evaluations again")
    evaluating.add_argument("--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)")
    _ray_arguments(evaluating)

    listing = add("list", list_, "list what a sweep file can name", "kdray list methods")
    listing.add_argument("what", choices=["models", "methods", "noise", "datasets", "evaluations"])

    data_ = add("data", data, "fetch or check a data set", "kdray data mnist --data ~/datasets")
    data_.add_argument("name", metavar="NAME", help="mnist, usps, cifar10, …: 'kdray list datasets' names all")
    data_.add_argument("--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)")
    data_.add_argument("--check", action="store_true", help="check only, fetch nothing")

    examining = add("doctor", doctor, "say what works on this machine, and what to do about the rest", "kdray doctor")
    examining.add_argument("--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)")
    return parser


def _sweep_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("sweep", metavar="SWEEP.yaml", help="sweep file")
    command.add_argument("--results", metavar="DIR", default="results", help="results folder or URI (results)")
    command.add_argument(
        "--set", metavar="PATH=VALUE", action="append", default=[], help="override a value (repeatable)"
    )
    command.add_argument("--smoke", action="store_true", help="shrink it to about a minute; results in DIR-smoke")
    command.add_argument("--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)")


def _ray_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", metavar="ADDR", help="a running Ray cluster (auto: the one on this machine)")
    _local_arguments(command)


def _local_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--max-concurrent", metavar="N", type=_COUNT, help="at most so many trials at once")
    command.add_argument("--cpus", metavar="N", type=_COUNT, help="CPUs of the local Ray (all)")
    command.add_argument("--gpus", metavar="N", type=_COUNT_OR_NONE, help="GPUs of the local Ray (all)")


def run(chosen: argparse.Namespace) -> int:
    from kdray.sweep import Progress, load_sweep, run

    sweep = load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke)
    progress, results = Progress(), results_of(chosen)
    summary = run(
        sweep, results, address=chosen.address, retry_failed=chosen.retry_failed, max_concurrent=chosen.max_concurrent,
        cpus=chosen.cpus, gpus=chosen.gpus, data=chosen.data, progress=progress,
    )  # fmt: skip
    print_points(results, sweep.name)
    return report(summary, results)


def results_of(chosen: argparse.Namespace) -> str:
    """The results folder; a smoke test has its own."""
    return beside(chosen.results, "-smoke") if chosen.smoke else str(chosen.results)


def report(summary: Summary, results: str, verb: str = "run") -> int:
    """Say what was done, where it is and what failed."""
    done = f"{len(summary.ran)} trials {verb}" if summary.ran else "nothing left to do"
    before = len(summary.there - summary.ran)
    print(f"{done}, {before} there already; tables in {shown(results)}/trials, epochs, robustness, members (Parquet)")
    if summary.stopped:
        print(f"stopped early: {summary.stopped}; the same command goes on")
    if summary.given_up:
        spared = f"; this spared {summary.saved:.3g} trainings now" if summary.saved else ""
        print(f"{len(summary.given_up)} trials given up, by racing or early stopping{spared}; 'kdray status' says why")
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        alike: dict[str, list[str]] = {}
        for name, reason in summary.failures.items():
            alike.setdefault(reason, []).append(name)
        for reason, names in alike.items():
            for name in names if len(names) <= FEW else [f"{len(names)} trials"]:
                print(f"  {name}: {reason}", file=sys.stderr)
        if any(not is_fault(reason) for reason in alike):
            print("the same command with --retry-failed tries them again", file=sys.stderr)
    return FAILED if summary.failures else OK


def is_fault(reason: str) -> bool:
    from kdray.task import is_fault

    # Of an evaluation the label comes first.
    return all(is_fault(part) or is_fault(part.partition(": ")[2]) for part in reason.split("; "))


def plan(chosen: argparse.Namespace) -> int:
    from kdray.sweep import load_sweep, plan
    from kdray.sweep.progress import duration

    sweep = load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke)
    found: Plan = plan(
        sweep, results_of(chosen), cpus=chosen.cpus, gpus=chosen.gpus, max_concurrent=chosen.max_concurrent,
        retry_failed=chosen.retry_failed,
    )  # fmt: skip
    print(f"sweep {found.sweep}, results in {shown(results_of(chosen))}")
    for role, counts in (("teacher", found.teachers), ("student", found.students)):
        if not counts.total:
            continue
        said = [(counts.train, "to train"), (counts.measure, "to measure"), (counts.there, "there already")]
        said.append(
            (counts.pending, "from a search" if found.searched else "pending (their teacher is not chosen yet)")
        )
        parts = ", ".join(f"{number} {text}" for number, text in said if number) or "0"
        print(f"  {role}s: {counts.total}: {parts}; {found.room[role]}")
    if found.across:
        print(f"  across trials: {found.across} to measure with the others")
    for caution in found.cautions:
        print(f"  warning: {caution}")
    if found.seconds is not None:
        print(f"  estimated time: {duration(found.seconds)} of training")
    elif found.teachers.train or found.students.train or found.students.pending:
        print("  estimated time: unknown until trials like these have run")
    return OK


def status(chosen: argparse.Namespace) -> int:
    from kdray.results import open_results
    from kdray.sweep.status import log, sweeps, trial

    results = open_results(chosen.results)
    if chosen.trial_id is not None:
        for name, value in trial(results, chosen.trial_id).items():
            print(f"{name:40} {value}")
        if told := log(results, chosen.trial_id):
            print(told)
        return OK
    found = sweeps(results)
    if not found:
        print(f"{shown(chosen.results)}: no sweep has run here yet")
    for sweep in found:
        parts = [f"{role}s: " + ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
                 for role, outcomes in sorted(sweep.counts.items(), reverse=True)]  # fmt: skip
        print(f"{sweep.sweep}: {'; '.join(parts) or 'no trial has ended yet'}")
        if sweep.running is not None:
            print(f"  running {sweep.running}\n  {sweep.progress}")
        for what, trials in (("failed", sweep.failures), ("given up", sweep.given_up)):
            for trial_id, reason in trials.items():
                print(f"  {what}: {trial_id}: {reason}")
        print_points(chosen.results, sweep.sweep)
    return OK


def forget(chosen: argparse.Namespace) -> int:
    from kdray.results import open_results
    from kdray.sweep.status import forget

    gone = forget(open_results(chosen.results), chosen.trial_ids)
    print("forgotten, rows and files: " + ", ".join(f"{number} {what}" for what, number in gone.items() if number))
    print("'kdray run' on their sweep trains them again; students of a forgotten teacher stay")
    return OK


def evaluate(chosen: argparse.Namespace) -> int:
    from kdray.core import parse
    from kdray.data import data_root
    from kdray.sweep import Options, evaluate, load_suite
    from kdray.sweep.file import Request

    options: Options = Options(
        address=chosen.address, retry_failed=chosen.retry_failed, max_concurrent=chosen.max_concurrent, cpus=chosen.cpus,
        gpus=chosen.gpus, data=data_root(chosen.data),
    )  # fmt: skip
    summary = evaluate(
        chosen.results, load_suite(chosen.suite), trials=chosen.trial, role=chosen.role,
        request=parse(Request, {"cpu": chosen.cpu, "gpu": chosen.gpu}, ""), options=options,
    )  # fmt: skip
    return report(summary, chosen.results, "measured")


def list_(chosen: argparse.Namespace) -> int:
    from kdray.catalogue import entries

    for entry in entries(chosen.what):
        print(f"{entry.name:20} {entry.summary}")
        for line in entry.details:
            print(f"{'':20}   {line}")
    return OK


def doctor(chosen: argparse.Namespace) -> int:
    from kdray.data import data_root
    from kdray.sweep.doctor import examine

    wrong = 0
    for finding in examine(data_root(chosen.data)):
        sign = {True: "ok   ", False: "WRONG", None: "note "}[finding.ok]
        wrong += finding.ok is False
        print(f"{sign} {finding.subject}: {finding.text}", flush=True)
    print("everything that a sweep needs works" if not wrong else f"{wrong} to mend")
    return FAILED if wrong else OK
