"""``kdray plan``: what a run would do."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import OK
from kdray.cli.summary import results_of
from kdray.core.wording import duration
from kdray.results.files.location import printable
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.plan import plan


def execute(chosen: argparse.Namespace) -> int:
    sweep = load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke)
    found = plan(
        sweep,
        results_of(chosen),
        cpus=chosen.cpus,
        gpus=chosen.gpus,
        max_concurrent=chosen.max_concurrent,
        retry_failed=chosen.retry_failed,
        data=chosen.data,
    )
    print(f"sweep {found.sweep}, results in {printable(results_of(chosen))}")
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
    for note in found.notes:
        print(f"  {note}")
    for caution in found.cautions:
        print(f"  warning: {caution}")
    if found.seconds is not None:
        print(f"  estimated time: {duration(found.seconds)} of training")
    elif found.teachers.train or found.students.train or found.students.pending:
        print("  estimated time: unknown until trials like these have run")
    return OK
