"""Running a sweep: what it describes less what the results hold, teachers first."""

from __future__ import annotations

import os
from pathlib import Path

from kdray.core import InputError, fingerprint
from kdray.core.garbage import gc_threshold
from kdray.data import data_root
from kdray.results import Results, Store
from kdray.results.record import write_labels, write_objectives
from kdray.sweep.definition.plugins import worker_env
from kdray.sweep.definition.trials import Sweep, data_of, data_remarks, edge_students, trained_for
from kdray.sweep.execution.resources import check, this_machine
from kdray.sweep.execution.runner import RayRunner
from kdray.sweep.inventory.across import TrainedTrial
from kdray.sweep.inventory.labels import evaluation_labels, monitored_labels
from kdray.sweep.inventory.left_behind import left_behind, left_behind_text
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.inventory.outside_weights import check_outside_weights, store_outside_weights
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.inventory.verdicts import overruled_text
from kdray.sweep.scheduling.account import Account, Summary
from kdray.sweep.scheduling.across import across_sources
from kdray.sweep.scheduling.lock import only_driver
from kdray.sweep.scheduling.merging import Merging
from kdray.sweep.scheduling.options import Options
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.scheduler import Scheduler, Sources
from kdray.sweep.scheduling.teachers import Teachers
from kdray.sweep.search.history import points_asked


def run(
    sweep: Sweep,
    results: str | os.PathLike[str] = "results",
    *,
    address: str | None = None,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    data: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make ``results`` hold every trial and evaluation that ``sweep`` describes; what is there
    already is not done again.

    ``address`` joins a running Ray cluster; otherwise a local Ray with ``cpus`` and ``gpus`` starts
    and stops by itself. Raises :class:`kdray.InputError` before any work if the sweep cannot run
    here.
    """
    options = Options(
        address=address,
        retry_failed=retry_failed,
        max_concurrent=max_concurrent,
        cpus=cpus,
        gpus=gpus,
        data=data_root(data),
        runtime_env=worker_env(sweep.file.resources.runtime_env),
    )
    store = Store(results)
    check_outside_weights(sweep, store)
    check_data(sweep, options.data)
    if address is None:
        for role in sweep.roles:
            check(role, getattr(sweep.file.resources, role), [this_machine(cpus, gpus)])
    for callback in sweep.file.callbacks:
        callback.check(store)
    store.create()
    progress = progress or Progress()
    runner = RayRunner(
        store, options, sweep=sweep.name, callbacks=sweep.file.callbacks, warn=progress.warn
    )
    for caution in (*sweep.cautions(), *data_remarks(sweep, options.data)):
        progress.warn(caution)
    with only_driver(store, sweep.name), gc_threshold():
        store_outside_weights(sweep, store)
        write_objectives(store, sweep.name, sweep.file.objectives)
        write_labels(store, sweep.name, evaluation_labels(sweep), monitored_labels(sweep))
        found = Results(store.location)
        account = Account(store, TrialIndex(found, retry_failed=retry_failed), progress)
        with Merging(store, account.index, progress.warn), runner:
            progress.publish(store, sweep.name)
            here = this_machine(cpus, gpus).cpu if address is None else None
            Scheduler(runner, account, here).run(_sources(sweep, account, found))
        return account.summary


def check_data(sweep: Sweep, root: Path) -> None:
    """:class:`InputError` unless every data set of the sweep, and what its evaluations need, is
    below ``root``."""
    for data in data_of(sweep):
        data.check(root)
        data.check_part(root)
        data.prepare(root)
        for evaluation in (*sweep.file.evaluate.suite, *sweep.finals):
            evaluation.check(data, root)
    _check_methods(sweep, root)


def _check_methods(sweep: Sweep, root: Path) -> None:
    """:class:`InputError` unless every method can be trained on the data that it is used for."""
    checked: set[tuple[str, str]] = set()
    for student in edge_students(sweep):
        for place, each in trained_for(student):
            key = (fingerprint(each.data), fingerprint(each.method))
            if key in checked:
                continue
            checked.add(key)
            try:
                each.method.check_data(each.data, root)
            except InputError as error:
                raise InputError(f"{place}.{error}") from None


def _sources(sweep: Sweep, account: Account, found: Results) -> Sources:
    """Yield what trains and measures teachers, then students, then what measures the best points,
    and then all that has been trained with each other."""
    from kdray.sweep.scheduling.best import BestPoints, remarks  # optuna takes a second to import
    from kdray.sweep.scheduling.students import Students

    members = SweepMembers(sweep, found, account.index)
    _leave_behind(sweep, account, members, found)
    teachers = Teachers(sweep, account, members)
    students = Students(sweep, account, members, found)
    try:
        yield from teachers.generations()
        yield from students.sources()
        account.summary.remarks += remarks(sweep, students.complete)
        if account.summary.stopped:
            return
        yield BestPoints(sweep, account, students.complete)
        evaluate = sweep.file.evaluate
        measured: list[TrainedTrial] = [("teacher", teacher) for teacher in teachers.measured]
        measured += [("student", student) for student in students.trained]
        trained = [
            (role, trial)
            for role, trial in measured
            if role in evaluate.roles and account.index.completed(trial.trial_id)
        ]
        request = sweep.file.resources.student
        yield from across_sources(account, trained, evaluate.across, request, retrain=True)
    finally:
        members.write()


def _leave_behind(sweep: Sweep, account: Account, members: SweepMembers, found: Results) -> None:
    """Take out of the sweep what its file, which has changed, cannot ask for, and verdicts that do
    not count by it: before the first trial, so that a look at the tables never mixes the old with
    the new."""
    points = points_asked(sweep, account.index, found)
    rows = left_behind(sweep, account.index, members.earlier(), points)
    members.drop(rows)
    if (text := left_behind_text(sweep.name, rows)) is not None:
        account.progress.say(text)
    overruled = members.drop(members.overruled())
    if (text := overruled_text(sweep.name, overruled)) is not None:
        account.progress.say(text)
