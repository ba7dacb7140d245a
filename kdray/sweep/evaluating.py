"""New evaluations of stored weights: nothing is trained, and what is measured already is not measured again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kdray.core import InputError, fingerprint, parse
from kdray.data import AnyData, data_root
from kdray.experiment import Experiment
from kdray.results import Results, open_results
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep import across
from kdray.sweep.file import Request, Role, Suite
from kdray.sweep.forms import forms_of, in_forms
from kdray.sweep.ledger import Ledger
from kdray.sweep.progress import Progress
from kdray.sweep.resources import check, this_machine
from kdray.sweep.work import Assignment, Group, Options, Summary, Work, in_turn
from kdray.sweep.yaml import read_yaml
from kdray.trial import Task, measurable


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
    asked = forms_of(Experiment.parse(json.loads(text)) for text in table["experiment"])
    table = table[(table["status"] == "completed") & table["role"].isin([role] if role else wanted.roles)]
    if trials is not None:
        unknown = sorted(set(trials) - set(table["trial_id"]))
        if unknown:
            raise InputError(f"{found.store.location}: no trained trial {unknown[0]!r}")
        table = table[table["trial_id"].isin(trials)]
    if options.address is None:
        check("student", request, [this_machine(options.cpus, options.gpus)])
    listed = [(role, Experiment.parse(json.loads(text))) for text, role in zip(table["experiment"], table["role"], strict=True)]
    images = {fingerprint(experiment.data): experiment.data for _, experiment in listed}
    of_images = {key: dict(_unfit(wanted, data, options.data)) for key, data in images.items()}
    unfit = {experiment.trial_id: of_images[fingerprint(experiment.data)] for _, experiment in listed}
    if listed and all(len(problems) == len(wanted.suite) for problems in unfit.values()):
        evaluation, problem = next(iter(unfit[listed[0][1].trial_id].items()))
        raise InputError(f"{label_of(evaluation)}: {problem}")
    for evaluation in wanted.suite:
        for caution in evaluation.cautions():
            progress.warn(f"{label_of(evaluation)}: {caution}")
    for warning in (*_relabelled(wanted, found), *_left_out(wanted, [experiment for _, experiment in listed])):
        progress.warn(warning)
    with Work(found.store, Ledger(found, retry_failed=options.retry_failed, curves=False), options, progress) as work:
        groups = []
        for role, experiment in listed:
            trial_id, problems = experiment.trial_id, unfit[experiment.trial_id]
            forms = asked.get(trial_id, [])
            if role == "student" and forms:
                forms = [None, *forms]  # in one sweep a student, in another a teacher
            suite = in_forms([e for e in wanted.alone if e not in problems], forms)
            task = work.ledger.task(role, experiment, suite)
            if task is None:
                work.summary.there.add(trial_id)
                outcome, reason = work.ledger.outcome(trial_id, suite)
                if outcome == "failed":
                    work.summary.failures[trial_id] = reason or "failed"
                continue
            # Weights that are gone or damaged are this trial's failure: nothing is trained here.
            stored = Task.model_validate({**dict(task), "train": False, "retrain_damaged": False})
            groups.append(Group([Assignment(stored, None)]))
        work.do("evaluations", "student", request, in_turn(groups), planned=len(groups), there=work.summary.there)
        for evaluation in wanted.across:
            fit = [(role, experiment) for role, experiment in listed if evaluation not in unfit[experiment.trial_id]]
            across.measure(work, fit, (evaluation,), request, retrain=False)
        for trial_id, problems in unfit.items():
            reasons = [work.summary.failures.get(trial_id), *(f"{label_of(e)}: {why}" for e, why in problems.items())]
            if problems:
                work.summary.failures[trial_id] = "; ".join(reason for reason in reasons if reason)
    return work.summary


def _relabelled(suite: Suite, found: Results) -> Iterator[str]:
    """Labels that mean something else in the results: their columns in ``frame()`` are then told apart by their parameters."""
    numbers = found.robustness()
    for evaluation in suite.suite:
        others = numbers[(numbers["label"] == label_of(evaluation)) & numbers["epoch"].isna()]["evaluation_id"]
        if set(others) - {fingerprint(evaluation)}:
            yield f"{label_of(evaluation)}: another evaluation in the results has this label; another label keeps them apart"


def _left_out(suite: Suite, experiments: Sequence[Experiment]) -> Iterator[str]:
    for evaluation in suite.suite:
        without = sum(not measurable([evaluation], experiment) for experiment in experiments)
        reason = "have no trained teacher" if evaluation.needs_teacher else "draw nothing that smoothing could average"
        if without:
            yield f"{label_of(evaluation)}: left out for {without} of {len(experiments)} trials, which {reason}"


def _unfit(suite: Suite, data: AnyData, root: Path) -> Iterator[tuple[AnyEvaluation, str]]:
    """The evaluations that cannot be made on models of ``data``, and why: the others are."""
    for evaluation in suite.suite:
        problem = evaluation.misfit(data)
        try:
            data.check(root)
            evaluation.check(data, root)
        except InputError as error:
            problem = problem or str(error)
        if problem is not None:
            yield evaluation, problem
