"""New evaluations of stored weights: nothing is trained, and what is measured already is not measured again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from kdray.core import InputError, parse
from kdray.data import data_root
from kdray.experiment import Experiment
from kdray.results import open_results
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition import check_applies
from kdray.sweep.file import Request, Role, Suite
from kdray.sweep.ledger import Ledger
from kdray.sweep.progress import Progress
from kdray.sweep.resources import check, this_machine
from kdray.sweep.work import Assignment, Group, Options, Summary, Work, in_turn
from kdray.sweep.yaml import read_yaml
from kdray.trial import Task


def load_suite(path: str | os.PathLike[str]) -> Suite:
    """The evaluations in a file: a list of them, a mapping with ``suite`` (and ``roles``), or a sweep's ``evaluate``."""
    path = Path(path)
    tree = read_yaml(path)
    if isinstance(tree, list):
        tree = {"suite": tree}
    where = ""
    if isinstance(tree, dict) and "evaluate" in tree:
        tree, where = tree["evaluate"], "evaluate"
    try:
        suite = parse(Suite, tree, where)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not suite.suite:
        raise InputError(f"{path}: suite: is empty; there is nothing to measure")
    return suite


def evaluate(
    results: str | os.PathLike[str], suite: Suite | Sequence[AnyEvaluation], *, trials: Collection[str] | None = None,
    role: Role | None = None, request: Request | None = None, options: Options | None = None,
    progress: Progress | None = None,
) -> Summary:  # fmt: skip
    """Measure every evaluation of ``suite`` on the trained trials in ``results`` (those of ``role``, or in ``trials``)."""
    options, request, progress = options or Options(data=data_root()), request or Request(), progress or Progress()
    found = open_results(results)
    wanted = suite if isinstance(suite, Suite) else Suite(suite=tuple(suite))
    table = found.trials()
    table = table[(table["status"] == "completed") & table["role"].isin([role] if role else wanted.roles)]
    if trials is not None:
        unknown = sorted(set(trials) - set(table["trial_id"]))
        if unknown:
            raise InputError(f"{found.store.location}: no trained trial {unknown[0]!r}")
        table = table[table["trial_id"].isin(trials)]
    if options.address is None:
        check("student", request, [this_machine(options.cpus, options.gpus)])
    with Work(found.store, Ledger(found, retry_failed=options.retry_failed), options, progress) as work:
        groups = []
        for text, kind in zip(table["experiment"], table["role"], strict=True):
            experiment = Experiment.parse(json.loads(text))
            check_applies(wanted.suite, experiment, f"trial {experiment.trial_id}")
            task = work.ledger.task(kind, experiment, wanted.suite)
            if task is None:
                work.summary.there.add(experiment.trial_id)
                outcome, reason = work.ledger.outcome(experiment.trial_id, wanted.suite)
                if outcome == "failed":
                    work.summary.failures[experiment.trial_id] = reason or "failed"
                continue
            experiment.data.check(options.data)
            # Weights that are gone or damaged are this trial's failure: nothing is trained here.
            stored = Task.model_validate({**dict(task), "train": False, "retrain_damaged": False})
            groups.append(Group([Assignment(stored, None)]))
        work.do("evaluations", "student", request, in_turn(groups), planned=len(groups), there=work.summary.there)
    return work.summary
