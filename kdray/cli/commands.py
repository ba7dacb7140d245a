"""What each command does: asks the library, and prints."""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kdray.cli.output import reader_may_leave
from kdray.cli.status import FAILED, OK

if TYPE_CHECKING:
    from kdray.sweep.definition.read import Sweep
    from kdray.sweep.plan import Plan
    from kdray.sweep.scheduling.account import Summary
    from kdray.sweep.scheduling.options import Options

FEW = 5
"""So many trials that failed alike are listed by their ids."""


def run(chosen: argparse.Namespace) -> int:
    from kdray.sweep.definition.read import load_sweep

    sweep, results = (
        load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke),
        _results_of(chosen),
    )
    with _early_ray(chosen, sweep, results):
        from kdray.cli.tables import print_points
        from kdray.sweep.run import run
        from kdray.sweep.scheduling.progress import Progress

        summary = run(
            sweep,
            results,
            address=chosen.address,
            retry_failed=chosen.retry_failed,
            max_concurrent=chosen.max_concurrent,
            cpus=chosen.cpus,
            gpus=chosen.gpus,
            data=chosen.data,
            progress=Progress(),
        )
    with reader_may_leave():
        print_points(results, sweep.name)
        _print_summary(summary, results)
    return FAILED if summary.failures else OK


def _early_ray(
    chosen: argparse.Namespace, sweep: Sweep, results: str
) -> AbstractContextManager[None]:
    """A local Ray that starts while the rest of a run is imported, where one is sure to be needed:
    the results are empty.

    Where another program calls this, there may be a Ray of its own.
    """
    new = "://" not in results and not any(Path(results).expanduser().glob("trials/*"))
    if (
        chosen.address is not None
        or not chosen.own_process
        or not new
        or sweep.file.resources.runtime_env
    ):
        return nullcontext()
    from kdray.sweep.execution.cluster import started_early
    from kdray.sweep.execution.resources import check, this_machine

    node = this_machine(chosen.cpus, chosen.gpus)
    for role in sweep.roles:
        check(role, getattr(sweep.file.resources, role), [node])
    return started_early(node)


def _results_of(chosen: argparse.Namespace) -> str:
    """The results folder; a smoke test has its own."""
    if not chosen.smoke:
        return str(chosen.results)
    from kdray.results.files.store import beside

    return beside(chosen.results, "-smoke")


def _print_summary(summary: Summary, results: str, verb: str = "run") -> None:
    """Print what was done, where it is, what failed, and the command that comes next."""
    from kdray.results.files.store import shown

    done = f"{len(summary.ran)} trials {verb}" if summary.ran else "nothing left to do"
    before = len(summary.there - summary.ran)
    print(
        f"{done}, {before} there already; tables in {shown(results)}/trials, epochs, "
        "robustness, members (Parquet)"
    )
    if summary.stopped:
        print(f"stopped early: {summary.stopped}; the same command goes on")
    if summary.given_up:
        spared = f"; this spared {summary.saved:.3g} trainings now" if summary.saved else ""
        print(
            f"{len(summary.given_up)} trials given up, by racing or early stopping{spared}; "
            "'kdray status' says why"
        )
    if summary.failures:
        print(f"{len(summary.failures)} failed:", file=sys.stderr)
        alike: dict[str, list[str]] = {}
        for name, reason in summary.failures.items():
            alike.setdefault(reason.text, []).append(name)
        for text, names in alike.items():
            for name in names if len(names) <= FEW else [f"{len(names)} trials"]:
                print(f"  {name}: {text}", file=sys.stderr)
        if not all(reason.is_transient for reason in summary.failures.values()):
            print("the same command with --retry-failed tries them again", file=sys.stderr)
    print(f"next: kdray report {shlex.quote(shown(results))}")


def plan(chosen: argparse.Namespace) -> int:
    from kdray.core.wording import duration
    from kdray.results.files.store import shown
    from kdray.sweep.definition.read import load_sweep
    from kdray.sweep.plan import plan

    sweep = load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke)
    found: Plan = plan(
        sweep,
        _results_of(chosen),
        cpus=chosen.cpus,
        gpus=chosen.gpus,
        max_concurrent=chosen.max_concurrent,
        retry_failed=chosen.retry_failed,
    )
    print(f"sweep {found.sweep}, results in {shown(_results_of(chosen))}")
    for role, counts in (("teacher", found.teachers), ("student", found.students)):
        if not counts.total:
            continue
        said = [
            (counts.train, "to train"),
            (counts.measure, "to measure"),
            (counts.there, "there already"),
        ]
        said.append(
            (
                counts.pending,
                "from a search" if found.searched else "pending (their teacher is not chosen yet)",
            )
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
    from kdray.cli.tables import print_points, print_trials
    from kdray.results import open_results
    from kdray.results.files.store import shown
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
        parts = [
            f"{role}s: "
            + ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            for role, outcomes in sorted(sweep.counts.items(), reverse=True)
        ]
        print(f"{sweep.sweep}: {'; '.join(parts) or 'no trial has ended yet'}")
        if sweep.running is not None:
            print(f"  running {sweep.running}\n  {sweep.progress}")
        for what, trials in (("failed", sweep.failures), ("given up", sweep.given_up)):
            for trial_id, reason in trials.items():
                print(f"  {what}: {trial_id}: {reason}")
        (print_trials if chosen.trials else print_points)(chosen.results, sweep.sweep)
    return OK


def forget(chosen: argparse.Namespace) -> int:
    from kdray.results import open_results
    from kdray.sweep.status import forget

    gone = forget(open_results(chosen.results), chosen.trial_ids)
    print(
        "forgotten, rows and files: "
        + ", ".join(f"{number} {what}" for what, number in gone.items() if number)
    )
    print("'kdray run' on their sweep trains them again; students of a forgotten teacher stay")
    return OK


def evaluate(chosen: argparse.Namespace) -> int:
    from kdray.core import parse
    from kdray.data import data_root
    from kdray.sweep.definition.file import Request
    from kdray.sweep.evaluate import evaluate, load_suite
    from kdray.sweep.scheduling.options import Options

    options: Options = Options(
        address=chosen.address,
        retry_failed=chosen.retry_failed,
        max_concurrent=chosen.max_concurrent,
        cpus=chosen.cpus,
        gpus=chosen.gpus,
        data=data_root(chosen.data),
    )
    summary = evaluate(
        chosen.results,
        load_suite(chosen.suite),
        trials=chosen.trial,
        role=chosen.role,
        request=parse(Request, {"cpu": chosen.cpu, "gpu": chosen.gpu}, ""),
        options=options,
    )
    with reader_may_leave():
        _print_summary(summary, chosen.results, "measured")
    return FAILED if summary.failures else OK


def list_(chosen: argparse.Namespace) -> int:
    from kdray.cli.catalogue import entries

    for entry in entries(chosen.what):
        print(f"{entry.name:20} {entry.summary}")
        for line in entry.details:
            print(f"{'':20}   {line}")
    return OK


def doctor(chosen: argparse.Namespace) -> int:
    from kdray.cli.doctor import examine
    from kdray.data import data_root

    wrong = 0
    for finding in examine(data_root(chosen.data)):
        sign = {True: "ok   ", False: "WRONG", None: "note "}[finding.ok]
        wrong += finding.ok is False
        print(f"{sign} {finding.subject}: {finding.text}", flush=True)
    print("everything that a sweep needs works" if not wrong else f"{wrong} to mend")
    return FAILED if wrong else OK
