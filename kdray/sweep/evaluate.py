"""New evaluations of stored weights: nothing is trained, and what is measured already is not
measured again."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from kdray.core import InputError, fingerprint, parse
from kdray.core.yaml import read_yaml
from kdray.data import AnyData, data_root
from kdray.results import Results, open_results
from kdray.results.record import add_labels
from kdray.results.schema import NOT_NEEDED, TRAINED_STATUS
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.file import Request, Role, Suite, without_rounding
from kdray.sweep.definition.teacher_variants import Variant, in_variants, variants_of_students
from kdray.sweep.execution.resources import check, this_machine
from kdray.sweep.execution.runner import RayRunner
from kdray.sweep.inventory.across import TrainedTrial
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.scheduling.account import Account, Summary
from kdray.sweep.scheduling.across import across_sources
from kdray.sweep.scheduling.jobs import Job, ListedJobs, Phase
from kdray.sweep.scheduling.merging import Merging
from kdray.sweep.scheduling.options import Options
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.scheduler import Scheduler, Sources
from kdray.trials.experiment import AnyTrial, parse_trial, stored_experiment
from kdray.trials.task import Reason, ReasonKind, Task, measurable

ROLES: tuple[Role, ...] = ("student", "teacher")
"""Of a trial that is both, in one sweep or in two, the first counts."""


def load_suite(path: str | os.PathLike[str]) -> Suite:
    """The evaluations in a file: a list of them, a mapping with ``suite`` (and ``roles``), or a
    sweep's ``evaluate``."""
    path = Path(path)
    tree = without_rounding(read_yaml(path))
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
    results: str | os.PathLike[str],
    suite: Suite | Sequence[AnyEvaluation],
    *,
    trials: Collection[str] | None = None,
    role: Role | None = None,
    request: Request | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Measure every evaluation of ``suite`` on the trained trials in ``results`` (those of
    ``role``, or in ``trials``)."""
    options, request, progress = (
        options or Options(data=data_root()),
        request or Request(),
        progress or Progress(),
    )
    found = open_results(results)
    wanted = suite if isinstance(suite, Suite) else Suite(suite=tuple(suite))
    chosen, foreign = _chosen(found, [role] if role else wanted.roles, trials)
    if options.address is None:
        check("student", request, [this_machine(options.cpus, options.gpus)])
    unfit = _unfit(wanted, [trial for _, trial in chosen], options.data)
    for warning in _warnings(wanted, found, [trial for _, trial in chosen]):
        progress.warn(warning)
    _record_labels(found, wanted, {trial.trial_id for _, trial in chosen})
    asked = variants_of_students(_readable(found))
    account = Account(found.store, _index(found, options), progress)
    for trial_id, told in foreign.items():
        account.add_failure(trial_id, told)
    with (
        Merging(found.store, account.index, progress.warn),
        RayRunner(found.store, options) as runner,
    ):
        sources = _sources(account, wanted, chosen, unfit, asked, request)
        Scheduler(runner, account).run(sources)
        for trial_id, problems in unfit.items():
            for evaluation, why in problems.items():
                text = f"{label_of(evaluation)}: {why}"
                account.add_failure(trial_id, Reason(kind=ReasonKind.EXPERIMENT, text=text))
    return account.summary


def _sources(
    account: Account,
    wanted: Suite,
    chosen: Sequence[TrainedTrial],
    unfit: Mapping[str, Collection[AnyEvaluation]],
    asked: Mapping[str, Sequence[Variant]],
    request: Request,
) -> Sources:
    """Yield what measures each trial by itself, and then what measures them with each other.

    ``unfit``: by trial, what cannot be measured on it; ``asked``: the variants that it teaches in.
    """
    jobs = []
    for kind, trial in chosen:
        variants = asked.get(trial.trial_id, [])
        if kind == "student" and variants:
            variants = [None, *variants]  # in one sweep a student, in another a teacher
        fitting = in_variants([e for e in wanted.alone if e not in unfit[trial.trial_id]], variants)
        task = account.index.task(kind, trial, fitting)
        if task is not None:
            jobs.append(Job(_measuring_only(task)))
        else:
            _, reason = account.index.outcome(trial.trial_id, fitting)
            account.nothing_left(trial.trial_id, reason)
    cached = account.summary.there
    yield ListedJobs(Phase("evaluations", "student", request, len(jobs), cached), jobs)
    for evaluation in wanted.across:
        together = [each for each in chosen if evaluation not in unfit[each[1].trial_id]]
        yield from across_sources(account, together, (evaluation,), request, retrain=False)


def _index(found: Results, options: Options) -> TrialIndex:
    """Return the index of trials that may lack their learning curves."""
    return TrialIndex(found, retry_failed=options.retry_failed, curves=False)


def _measuring_only(task: Task) -> Task:
    """Return the same task, of which weights that are gone or damaged are the failure: nothing is
    trained here."""
    return Task.model_validate({**dict(task), "train": False, "retrain_damaged": False})


def _chosen(
    found: Results, roles: Collection[Role], trials: Collection[str] | None
) -> tuple[list[TrainedTrial], dict[str, Reason]]:
    """The trained trials that have one of ``roles`` in any sweep, and among ``trials`` if these are
    given; and, by trial, why others of them cannot be measured: another version of kdray made them.
    InputError if one of ``trials`` is not there."""
    table = found.trials()
    table = _in_roles(table[table["status"].isin(TRAINED_STATUS)], found, roles)
    if trials is not None:
        unknown = sorted(set(trials) - set(table["trial_id"]))
        if unknown:
            raise InputError(f"{found.store.place}: no trained trial {unknown[0]!r}")
        table = table[table["trial_id"].isin(trials)]
    chosen: list[TrainedTrial] = []
    foreign: dict[str, Reason] = {}
    rows = zip(table["role"], table["trial_id"], table["experiment"], strict=True)
    for role, trial_id, text in rows:
        try:
            chosen.append((role, stored_experiment(text, trial_id, "the trial")))
        except InputError as error:
            foreign[trial_id] = Reason(kind=ReasonKind.EXPERIMENT, text=str(error))
    return chosen, foreign


def _in_roles(trials: pd.DataFrame, found: Results, roles: Collection[Role]) -> pd.DataFrame:
    """The rows of ``trials`` that have one of ``roles`` in any sweep, which is their ``role`` then;
    of those that no sweep asks for the role says for which one asked first."""
    asked = found.members(["trial_id", "role"], [("outcome", "!=", NOT_NEEDED)])
    taken: dict[str, set[str]] = {}
    for trial_id, role in asked.dropna().itertuples(index=False, name=None):
        taken.setdefault(trial_id, set()).add(role)
    chosen = [
        next((role for role in ROLES if role in roles and role in taken.get(each, {first})), None)
        for each, first in zip(trials["trial_id"], trials["role"], strict=True)
    ]
    return trials.assign(role=pd.Series(chosen, index=trials.index, dtype="str")).dropna(
        subset="role"
    )


def _readable(found: Results) -> Iterator[AnyTrial]:
    """Yield the experiments that this version of kdray can read."""
    for text in found.trials()["experiment"]:
        with suppress(InputError):
            yield parse_trial(json.loads(text))


def _record_labels(found: Results, suite: Suite, trial_ids: Collection[str]) -> None:
    """Let the sweeps of these trials call the evaluations as ``suite`` does, where they have no
    word for them."""
    members = found.members(["sweep", "trial_id"]).dropna()
    sweeps = members.loc[members["trial_id"].isin(trial_ids), "sweep"].unique()
    rows = found.robustness(["trial_id", "evaluation_id", "label", "epoch"])
    measured = {
        str(sweep): rows[rows["trial_id"].isin(members.loc[members["sweep"].eq(sweep), "trial_id"])]
        for sweep in sweeps
    }
    labels = {fingerprint(evaluation): label_of(evaluation) for evaluation in suite.suite}
    add_labels(found.store, labels, measured)


def _warnings(suite: Suite, found: Results, trials: Sequence[AnyTrial]) -> Iterator[str]:
    """What a user may not have meant."""
    numbers = found.robustness()
    numbers = numbers[numbers["epoch"].isna()]
    for evaluation in suite.suite:
        label = label_of(evaluation)
        yield from (f"{label}: {caution}" for caution in evaluation.cautions())
        if set(numbers.loc[numbers["label"] == label, "evaluation_id"]) - {fingerprint(evaluation)}:
            yield (
                f"{label}: another evaluation in the results has this label; another label "
                "keeps them apart"
            )
        without = sum(not measurable([evaluation], trial) for trial in trials)
        if evaluation.needs_teacher and without == len(trials) > 0:
            yield f"{label}: left out, none of the trials has a trained teacher"
        elif without and not evaluation.needs_teacher:
            yield (
                f"{label}: left out for {without} of {len(trials)} trials, which draw nothing "
                "that smoothing could average"
            )


def _unfit(
    suite: Suite, trials: Sequence[AnyTrial], root: Path
) -> dict[str, dict[AnyEvaluation, str]]:
    """By trial, the evaluations that cannot be made on it, and why; InputError if none can be made
    on any."""
    images = {fingerprint(trial.data): trial.data for trial in trials}
    problems = {key: dict(_problems(suite, data, root)) for key, data in images.items()}
    if problems and all(len(found) == len(suite.suite) for found in problems.values()):
        first, *_ = problems.values()
        evaluation, problem = next(iter(first.items()))
        raise InputError(f"{label_of(evaluation)}: {problem}")
    return {trial.trial_id: problems[fingerprint(trial.data)] for trial in trials}


def _problems(suite: Suite, data: AnyData, root: Path) -> Iterator[tuple[AnyEvaluation, str]]:
    for evaluation in suite.suite:
        problem = evaluation.misfit(data)
        try:
            data.check(root)
            evaluation.check(data, root)
        except InputError as error:
            problem = problem or str(error)
        if problem is not None:
            yield evaluation, problem
