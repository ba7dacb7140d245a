"""What breaks in Ray Tune and Optuna, and what shows that kdray does not break there.

By number: the trap, and the tests that would fail if kdray had it, in their files below ``tests/``.

1. Tuner.restore unpickles, and resumes wrongly
   sweep/test_pitfalls.py::test_kdray_runs_nothing_that_it_reads
   sweep/test_pitfalls.py::test_poison_among_the_results_is_never_run
   sweep/test_pitfalls.py::test_what_tune_pickles_of_kdray_is_empty
   sweep/test_run.py::test_a_search_that_was_killed_takes_up_the_points_that_were_under_way
   sweep/test_end_to_end.py::test_a_driver_killed_in_the_middle_loses_and_repeats_nothing
2. Seeds are unknown; crashed ones vanish
   sweep/test_pitfalls.py::test_kdray_keeps_away_from_what_breaks
   sweep/search/test_propose.py::test_a_point_of_which_a_seed_failed_is_told_as_failed_with_the_reason_and_never_averaged
   sweep/test_run.py::test_the_study_and_the_points_table_say_the_same
   sweep/test_objectives.py::test_several_objectives_are_told_and_their_front_is_optunas
3. Grids are refused or silently repeated
   sweep/test_pitfalls.py::test_kdray_keeps_away_from_what_breaks
   sweep/search/test_propose.py::test_a_grid_gives_every_point_in_order_and_tells_each_once_with_the_mean_over_its_seeds
4. NaN stays running, pruned counts complete
   sweep/test_pitfalls.py::test_an_objective_that_is_not_finite_is_a_failed_point_and_nothing_stays_running
   sweep/test_pitfalls.py::test_a_number_that_is_not_finite_and_no_objective_does_no_harm
   sweep/test_pitfalls.py::test_a_race_with_numbers_that_are_not_finite_is_lost_by_nobody
   sweep/test_pitfalls.py::test_what_was_stopped_early_is_told_as_pruned_and_without_a_value
   sweep/search/test_history.py::test_what_is_not_of_the_space_is_no_point_of_it
5. Early stopping is biased by noise
   sweep/test_pitfalls.py::test_nothing_is_given_up_unless_the_file_asks_for_it
   sweep/search/test_early_stopping.py::test_time_is_a_fraction_of_each_trials_own_schedule
   sweep/search/test_early_stopping.py::test_a_loss_is_better_where_it_is_lower
6. A raising callback aborts the experiment
   sweep/execution/test_dashboards.py::test_a_callback_that_raises_is_left_out_from_then_on_with_one_warning
   sweep/execution/test_dashboards.py::test_whatever_raises_every_trial_ends_well
7. Without loggers, Tune's tables are empty
   sweep/test_pitfalls.py::test_kdray_keeps_away_from_what_breaks
   sweep/test_pitfalls.py::test_what_tune_returns_is_not_looked_at
   faults/test_pitfalls.py::test_tune_logs_nothing_and_its_folder_is_gone_afterwards
8. An infeasible request hangs silently
   sweep/execution/test_resources.py::test_more_than_one_gpu_is_refused
   sweep/execution/test_resources.py::test_a_request_that_no_single_node_can_meet_says_so
   sweep/definition/test_bad_input.py::test_a_gpu_where_there_is_none_is_refused_at_once
   sweep/definition/test_bad_input.py::test_more_cpus_than_any_node_has_are_refused_at_once
9. Reused actors carry state over
   sweep/test_pitfalls.py::test_a_trial_leaves_the_process_as_it_was
   sweep/test_pitfalls.py::test_what_others_left_in_the_process_changes_no_bit
   sweep/scheduling/test_queue.py::test_out_of_memory_is_tried_once_more_with_twice_the_share
   sweep/test_run.py::test_what_runs_at_once_makes_no_difference
   faults/test_pitfalls.py::test_in_a_used_process_trials_are_to_the_bit_what_they_are_in_a_new_one
   faults/test_processes.py::test_a_trial_that_runs_out_of_a_gpus_memory_has_twice_the_share_in_another_process
10. Tune's limit failed in 2.54
   sweep/test_pitfalls.py::test_versions_of_ray_that_break_the_limit_are_not_installed
   faults/test_pitfalls.py::test_no_more_trials_run_at_once_than_were_allowed
11. TPE repeats points of small spaces
   sweep/search/test_propose.py::test_a_search_of_a_small_space_stops_when_it_is_used_up_and_repeats_cost_nothing
   sweep/search/test_propose.py::test_a_repeat_of_a_point_that_is_still_running_is_asked_for_again
   sweep/test_run.py::test_equal_points_that_come_at_once_are_one_trial_too
12. Parallel TPE depends on finishing order
   sweep/test_pitfalls.py::test_every_trial_of_a_parallel_search_is_repeated_from_its_own_description
   sweep/test_pitfalls.py::test_the_readme_says_on_what_parallel_tpe_depends
13. Optuna's storage breaks on NFS
   sweep/test_pitfalls.py::test_nothing_that_a_worker_loads_opens_a_study
   sweep/test_run.py::test_a_lost_study_is_made_again_from_what_the_tables_hold
   sweep/search/test_mirror.py::test_whatever_happened_to_it_it_is_written_anew
   sweep/search/test_propose.py::test_choices_of_every_kind_of_value_come_back_as_they_are_written
   sweep/definition/test_branches.py::test_parameters_of_a_branch_carry_its_name_and_come_back_as_the_point
   sweep/search/test_dashboard.py::test_every_metric_of_every_point_is_shown
14. Big captured objects travel with tasks
   sweep/test_pitfalls.py::test_the_actor_is_sent_by_name
   sweep/test_pitfalls.py::test_the_configuration_of_a_trial_is_text_and_small
15. ray.train's names and relative paths fail
   sweep/test_pitfalls.py::test_kdray_keeps_away_from_what_breaks
   sweep/test_pitfalls.py::test_workers_are_told_absolute_paths
   faults/test_pitfalls.py::test_in_another_working_directory_the_same_results_are_written
   sweep/test_pitfalls.py::test_names_that_tune_makes_paths_of_are_short
   sweep/test_pitfalls.py::test_tune_itself_neither_tries_again_nor_checkpoints
   sweep/test_end_to_end.py::test_a_worker_killed_in_the_middle_goes_on_from_its_checkpoint
16. Threads follow wrong CPU counts
   sweep/test_pitfalls.py::test_cpus_are_those_that_this_process_may_use
   sweep/test_pitfalls.py::test_a_trial_has_as_many_threads_as_cpus
   machine/test_hardware.py::test_a_trial_gets_the_threads_that_it_asks_for
   faults/test_pitfalls.py::test_torch_has_the_threads_of_the_trial_in_the_worker
17. Driver memory grows with reports
   sweep/test_pitfalls.py::test_what_is_told_of_an_epoch_is_numbers_and_does_not_grow
   sweep/test_pitfalls.py::test_of_trials_that_have_ended_the_driver_keeps_no_reports
   sweep/execution/test_dashboards.py::test_a_callback_hears_numbers_by_epoch_and_no_texts
18. Ray's console output drowns everything
   sweep/test_end_to_end.py::test_the_tables_are_complete
   faults/test_pitfalls.py::test_the_console_shows_kdrays_lines_only
19. Shared GPUs are bookkeeping only
   sweep/execution/test_resources.py::test_so_many_trials_run_at_once
   sweep/execution/test_resources.py::test_a_part_of_a_gpu_lies_on_one_and_those_that_share_it_are_as_many_as_counted
   sweep/execution/test_resources.py::test_the_limit_is_told_once_where_there_is_one_node_or_one_limit
   machine/test_hardware.py::test_the_allocator_is_capped_below_the_share_by_what_cuda_itself_takes
20. Out of memory spoils the process
   sweep/scheduling/test_queue.py::test_out_of_memory_is_tried_once_more_with_twice_the_share
   sweep/scheduling/test_queue.py::test_out_of_memory_of_an_evaluation_counts_too
   faults/test_processes.py::test_a_trial_that_runs_out_of_a_gpus_memory_has_twice_the_share_in_another_process
21. torch.cuda.is_available ignores the grant
   machine/test_hardware.py::test_the_device_is_what_ray_granted
   sweep/test_pitfalls.py::test_the_device_of_a_trial_is_asked_for_in_one_place
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import random
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import yaml
from packaging.requirements import Requirement

import kdray
from kdray.core import InputError
from kdray.machine import hardware
from kdray.results import Results, Store
from kdray.robustness.clean import Clean
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.definition.samplers import members_of_search
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_order import ancestors
from kdray.sweep.execution.resources import granted, this_machine
from kdray.sweep.run import run
from kdray.sweep.scheduling.jobs import Job, Jobs
from kdray.sweep.scheduling.progress import Progress
from kdray.trials.experiment import Experiment
from kdray.trials.grant import Grant
from kdray.trials.run import run_task
from kdray.trials.task import Ended, EpochDone, Outcome, Reason, ReasonKind, Task, TrialEvent
from tests.shipped import SWEEPS
from tests.sweep.fakes import ALONE, NOWHERE, Engine, assert_same_bits, go, sweep_of, tables
from tests.sweep.scheduling.test_queue import Told, group

PACKAGE = Path(kdray.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = Path(__file__).parents[1]
SIGMA = "experiment.noise.input.sigma"


# The table above


def listed() -> dict[int, list[tuple[str, str]]]:
    """The table's tests, (file, name), by number."""
    found: dict[int, list[tuple[str, str]]] = {}
    for line in str(__doc__).splitlines():
        if number := re.match(r"(\d+)\. ", line):
            assert int(number[1]) not in found, f"{number[1]} is there twice"
            tests = found[int(number[1])] = []
        elif "::" in line:
            file, _, name = line.strip().partition("::")
            tests.append((file, name))
    return found


def defined(file: str) -> set[str]:
    """The tests in a file below ``tests/``."""
    tree = ast.parse((TESTS / file).read_text())
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_trap_has_tests_and_they_are_there() -> None:
    table = listed()
    assert list(table) == list(range(1, 22))
    assert [number for number, tests in table.items() if not tests] == []
    there = {file: defined(file) for tests in table.values() for file, _ in tests}
    missing = [
        f"{file}::{name}"
        for tests in table.values()
        for file, name in tests
        if name not in there[file]
    ]
    assert missing == []


def test_every_test_of_a_trap_is_in_the_table() -> None:
    named = {test for tests in listed().values() for test in tests}
    about_themselves = {
        "test_every_trap_has_tests_and_they_are_there",
        "test_every_test_of_a_trap_is_in_the_table",
        "test_what_is_looked_for_is_found",
    }
    for file in ("sweep/test_pitfalls.py", "faults/test_pitfalls.py"):
        assert defined(file) - {name for where, name in named if where == file} <= about_themselves


# 1, 2, 3, 7, 15: what kdray does not call

UNPICKLING = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "ray.cloudpickle",
}
RUNNING = {"eval", "exec", "compile", "__import__"}
READING = {
    "torch.load",
    "torch.jit.load",
    "torch.package",
    "torch.hub",
    "pd.read_pickle",
    "pandas.read_pickle",
}
YAML = {"load", "load_all", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}
BROKEN = {
    "OptunaSearch",
    "Repeater",
    "grid_search",
    "GridSampler",
    "BruteForceSampler",
    "ResultGrid",
    "get_dataframe",
    "get_best_result",
    "ConcurrencyLimiter",
    "ASHAScheduler",
    "AsyncHyperBandScheduler",
    "JournalStorage",
    "get_checkpoint",
}
"""Of Ray Tune and Optuna."""


def runs_what_it_reads(tree: ast.AST) -> list[str]:
    """The calls and imports that run, or may run, what is in a file that is read."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = {f"{module}.{alias.name}".lstrip(".") for alias in node.names} | {module}
            if names == {"pickle", "pickle.UnpicklingError"}:
                continue  # the name of what torch raises
            found += [name for name in names if name in UNPICKLING | READING]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        first, _, last = called.rpartition(".")
        if called == "torch.load" and options.get("weights_only") == "True":
            continue
        if (
            called in RUNNING
            or called in READING
            or (last == "restore" and "super()" not in called)
            or (
                first in ("np", "numpy")
                and last == "load"
                and options.get("allow_pickle") != "False"
            )
            or (
                first == "yaml"
                and last in YAML
                and ast.unparse(node.args[1] if len(node.args) > 1 else node) != "_Loader"
            )
        ):
            found.append(called)
    return found


def avoided(tree: ast.AST) -> list[str]:
    """Names of Tune and Optuna that break, and any of ray.train's or ray.air's (but for callbacks,
    which live there)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [f"{module}.{alias.name}".lstrip(".") for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        found += [
            n
            for n in names
            if n.split(".")[-1] in BROKEN or re.match(r"ray\.(train|air)\b(?!\.integrations)", n)
        ]
    return found


@pytest.mark.parametrize(
    ("line", "look"),
    [
        ("import pickle", runs_what_it_reads),
        ("from ray import cloudpickle", runs_what_it_reads),
        ("from pickle import loads as read", runs_what_it_reads),
        ("torch.load(path)", runs_what_it_reads),
        ("torch.load(path, weights_only=False)", runs_what_it_reads),
        ("from pickle import UnpicklingError, loads", runs_what_it_reads),
        ("tune.Tuner.restore(path, trainable)", runs_what_it_reads),
        ("eval(text)", runs_what_it_reads),
        ("yaml.load(text, yaml.Loader)", runs_what_it_reads),
        ("yaml.unsafe_load(text)", runs_what_it_reads),
        ("np.load(path)", runs_what_it_reads),
        ("np.load(path, allow_pickle=True)", runs_what_it_reads),
        ("pd.read_pickle(path)", runs_what_it_reads),
        ("from ray.tune.search.optuna import OptunaSearch", avoided),
        ("space = tune.grid_search([1, 2])", avoided),
        ("found.get_dataframe()", avoided),
        ("from ray.train import RunConfig", avoided),
        ("import ray\nray.train.report({})", avoided),
        ("import ray.air", avoided),
    ],
)
def test_what_is_looked_for_is_found(line: str, look: Any) -> None:
    assert look(ast.parse(line))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_kdray_runs_nothing_that_it_reads(path: Path) -> None:
    from kdray.core import yaml as kdrays

    assert runs_what_it_reads(ast.parse(path.read_text())) == []
    assert issubclass(kdrays._Loader, yaml.SafeLoader)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_kdray_keeps_away_from_what_breaks(path: Path) -> None:
    assert avoided(ast.parse(path.read_text())) == []


class Poison:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_poison_among_the_results_is_never_run(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "run"
    poison = pickle.dumps(Poison(mark))
    pickle.loads(poison)  # noqa: S301
    assert mark.exists()
    mark.unlink()
    found = Results(finished).trials()
    students = found.loc[found["role"] == "student", "trial_id"].tolist()
    names = [
        "tuner.pkl",
        "trainable.pkl",
        "searcher-state-0.pkl",
        "run/tuner.pkl",
        "studies/tuner.pkl",
    ]
    names += [f"weights/{trial_id}.safetensors" for trial_id in found["trial_id"]]
    names += [f"checkpoints/{trial_id}.safetensors" for trial_id in students]
    for name in names:
        (finished / name).parent.mkdir(exist_ok=True)
        (finished / name).write_bytes(poison)
    before = tables(finished)
    for path in (finished / "trials").glob(f"{students[0]}*"):
        path.unlink()
    assert go(finished).exit_status == 0
    assert students[0] in engine.trained
    assert_same_bits(before, tables(finished))
    assert not mark.exists()
    assert (finished / "tuner.pkl").read_bytes() == poison, "nobody wrote over it either"


# 1, 7, 14, 15: what Tune is given


class Given(Exception):
    """What Tune was given, when it would have begun."""

    def __init__(self, trainable: Any, tune_config: Any, run_config: Any) -> None:
        super().__init__()
        self.trainable, self.tune, self.run = trainable, tune_config, run_config


TASK = Task(role="student", experiment=(ONE := sweep_of(ALONE)).student(next(ONE.grid()), 0, None))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """What kdray gives to Tune for a sweep."""
    engine = pytest.importorskip("kdray.sweep.execution.tune_searcher")

    def tuner(trainable: Any, *, tune_config: Any, run_config: Any) -> None:
        raise Given(trainable, tune_config, run_config)

    queue = Told(group(TASK)).queue
    folder = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.tune.Tuner", tuner)
        with pytest.raises(Given) as raised:
            engine.run_trials(queue, store=Store(folder / "results"), data_root=NOWHERE)
    return raised.value


def test_what_tune_pickles_of_kdray_is_empty(given: Given) -> None:
    """For a restore that never comes; otherwise it would hold the whole queue, at every
    snapshot."""
    from ray import cloudpickle

    for ours in (given.tune.search_alg, given.tune.scheduler):
        packed = cloudpickle.dumps(ours)
        assert len(packed) < 500
        assert b"kdray" not in packed


def test_tune_itself_neither_tries_again_nor_checkpoints(given: Given) -> None:
    assert given.run.failure_config.max_failures == 0
    assert not given.run.checkpoint_config.checkpoint_at_end
    assert not given.run.checkpoint_config.checkpoint_frequency
    assert given.run.stop is None
    assert given.tune.time_budget_s is None


def test_names_that_tune_makes_paths_of_are_short(given: Given) -> None:
    class Trial:
        trial_id = "0123456789ab"
        evaluated_params = {"task": "long " * 1000}  # noqa: RUF012

    for name in (
        given.tune.trial_name_creator(Trial()),
        given.tune.trial_dirname_creator(Trial()),
        given.run.name,
    ):
        assert len(name) <= 30
        assert re.fullmatch(r"\w+", name)
    assert Path(given.run.storage_path).is_absolute()


def test_what_tune_returns_is_not_looked_at() -> None:
    """Without its loggers there is nothing in it."""
    trees = [
        ast.parse((PACKAGE / "sweep" / f"{name}.py").read_text())
        for name in ("execution/runner", "execution/tune_searcher", "scheduling/queue")
    ]
    calls = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".fit")
    ]
    alone = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    assert len(calls) == 1
    assert all(any(call is each for each in alone) for call in calls)


def test_the_actor_is_sent_by_name(given: Given) -> None:
    from ray import cloudpickle

    from kdray.sweep.execution.actor import TrialActor

    assert issubclass(given.trainable, TrialActor)
    assert len(cloudpickle.dumps(TrialActor)) < 100, "a name, not what it does and holds"
    assert len(cloudpickle.dumps(given.trainable)) < 5000, (
        "Ray's wrapper around it, which is sent whole"
    )


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_configuration_of_a_trial_is_text_and_small(path: Path) -> None:
    from ray import cloudpickle

    from kdray.sweep.execution.actor import tune_config

    sweep = load_sweep(path)
    for point in (Point(0, space, next(iter(space.corners()))[1]) for space in sweep.spaces):
        student = sweep.student(point, 0, next(iter(sweep.candidates(point)), None))
        member = {
            "sweep": sweep.name,
            "trial_id": student.trial_id,
            "teacher_candidates": "x" * 500,
            "point": 0,
        }
        task = Task(role="student", experiment=student, evaluations=sweep.suite("student"))
        config = tune_config(
            Job(task, member, granted(sweep.file.resources.student)), Store("/results"), NOWHERE
        )
        assert all(isinstance(value, str) for value in config.values()), config
        assert len(cloudpickle.dumps(config)) < 20_000, point


def test_workers_are_told_absolute_paths(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's working directory is another one."""
    import sys

    from kdray.sweep.execution.actor import tune_config

    told: list[dict[str, Any]] = []

    def stand_in(jobs: Jobs, *, store: Store, data_root: Path, callbacks: Any) -> None:
        while (job := jobs.next_job()) is not None:
            told.append(tune_config(job, store, data_root))
            reason = Reason(kind=ReasonKind.EXPERIMENT, text="not run")
            jobs.ended(job, Ended(outcome=Outcome.FAILED, reason=reason))

    monkeypatch.setattr(sys.modules["kdray.sweep.execution.tune_searcher"], "run_trials", stand_in)
    monkeypatch.chdir(tmp_path)
    run(sweep_of(ALONE), "results", data="data", progress=Progress(io.StringIO()))
    assert {(config["results"], config["data_root"]) for config in told} == {
        (f"{tmp_path}/results", f"{tmp_path}/data")
    }


# 4, 5: states


def study(results: Path) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{results}/studies/tiny.db")


def spoil(patch: pytest.MonkeyPatch, metric: str, value: float) -> None:
    """In every second trial that is measured one number of ``clean`` is ``value``."""
    measure, count = Clean.measure, iter(range(1000))

    def spoilt(self: Clean, subject: Any) -> Iterator[Any]:
        spoil = next(count) % 2
        for each in measure(self, subject):
            yield replace(each, value=value) if spoil and each.metric == metric else each

    patch.setattr(Clean, "measure", spoilt)


RANDOM = {SIGMA: {"uniform": [0, 1]}, "search": {"sampler": "tpe", "points": 4, "startup": 2}}
BY_LOSS = {
    "objective": {"metric": "clean.loss", "mode": "min"},
    "evaluate.roles": ["student"],
    "seeds": 1,
    **ALONE,
}


@pytest.mark.parametrize("search", [{}, RANDOM], ids=["grid", "tpe"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_objective_that_is_not_finite_is_a_failed_point_and_nothing_stays_running(
    engine: Engine,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    search: dict[str, Any],
) -> None:
    spoil(monkeypatch, "loss", value)
    said = io.StringIO()
    go(results, BY_LOSS, search, said=said)
    states = [trial.state.name for trial in study(results).trials]
    assert states == ["COMPLETE", "FAIL"] * (2 if search else 1)
    for trial in study(results).trials:
        assert (trial.value is None, trial.user_attrs.get("problem")) == (
            (True, "no clean.loss") if trial.state.name == "FAIL" else (False, None)
        )
    # Told once, and nothing is left to do.
    engine.ran.clear()
    go(results, BY_LOSS, search)
    assert engine.ran == []
    assert [trial.state.name for trial in study(results).trials] == states


@pytest.mark.parametrize("search", [{}, RANDOM], ids=["grid", "tpe"])
def test_a_number_that_is_not_finite_and_no_objective_does_no_harm(
    engine: Engine, results: Path, monkeypatch: pytest.MonkeyPatch, search: dict[str, Any]
) -> None:
    spoil(monkeypatch, "loss", float("nan"))
    assert go(results, BY_LOSS, {"objective": {"metric": "val_accuracy"}}, search).exit_status == 0
    found = study(results).trials
    assert {trial.state.name for trial in found} == {"COMPLETE"}
    accuracies = Results(results).trials()["val_accuracy"]
    assert sorted(trial.value for trial in found) == pytest.approx(sorted(accuracies))


def test_a_race_with_numbers_that_are_not_finite_is_lost_by_nobody(
    engine: Engine, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point has failed, and is not one that does badly."""
    measure, seen = Clean.measure, iter(range(1000))

    def spoilt(self: Clean, subject: Any) -> Iterator[Any]:
        bad = next(seen) >= 5  # the second point
        for each in measure(self, subject):
            yield replace(each, value=float("nan")) if bad and each.metric == "loss" else each

    monkeypatch.setattr(Clean, "measure", spoilt)
    summary = go(results, BY_LOSS, {"search": {"racing": {"p": 0.1}}, "seeds": 5})
    assert summary.given_up == {}
    assert [trial.state.name for trial in study(results).trials] == ["COMPLETE", "FAIL"]
    assert study(results).trials[1].user_attrs["problem"] == "no clean.loss"


EARLY: dict[str, Any] = {
    "search": {
        "sampler": "random",
        "points": 4,
        "early_stopping": {"pruner": "median", "startup": 1, "grace": 0.2},
    },
    "experiment.noise.input": None,
    "experiment.training": {
        "epochs": 5,
        "batch_size": 10,
        "optimizer": {"name": "sgd", "learning_rate": {"choice": [0.1, 1e-5, 2e-5, 3e-5]}},
    },
    "seeds": 1,
    **ALONE,
}


def test_what_was_stopped_early_is_told_as_pruned_and_without_a_value(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    go(
        results,
        {
            **EARLY,
            "search": {**EARLY["search"], "first": [{"training.optimizer.learning_rate": 0.1}]},
        },
    )
    trained = (
        Results(results)
        .trials()
        .set_index("training.optimizer.learning_rate")["val_accuracy"]
        .to_dict()
    )
    found = study(results).trials
    states = [trial.state.name for trial in found]
    assert states[0] == "COMPLETE"
    assert set(states) == {"COMPLETE", "PRUNED"}
    for trial in found:
        rate = trial.params["training.optimizer.learning_rate"]
        if trial.state.name == "PRUNED":
            assert (trial.values, rate in trained) == (None, False)
            assert trial.user_attrs["given up"].endswith("(median)")
        else:
            assert trial.value == trained[rate], "of the whole schedule"


def test_nothing_is_given_up_unless_the_file_asks_for_it(engine: Engine, results: Path) -> None:
    for kind in members_of_search():
        assert kind.model_fields["early_stopping"].default is None
        assert kind.model_fields["racing"].default is None
    summary = go(
        results,
        EARLY,
        {
            "search": {},
            "experiment.training.optimizer.learning_rate": {"grid": [0.1, 1e-5]},
            "seeds": 3,
        },
    )
    assert (len(engine.trained), summary.given_up) == (6, {})
    assert (Results(results).epochs().groupby("trial_id").size() == 5).all()


# 9: what is left in a process

MESSY = {
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.2},
    "data": {"name": "digits", "examples": 200, "augment": "crop_flip"},
    "noise": {
        "input": {"name": "gaussian", "sigma": 0.2},
        "labels": {"name": "uniform", "rate": 0.2},
    },
    "training": {"epochs": 2, "batch_size": 20},
}
"""Everything that draws takes part."""


def messy(seed: int = 0, **changes: Any) -> Task:
    sweep = sweep_of(
        {
            "evaluate.suite": [
                {
                    "label": "pgd",
                    "name": "pgd",
                    "epsilon": 0.1,
                    "step_size": 0.1,
                    "steps": 1,
                    "examples": 20,
                },
                {"name": "gaussian_noise", "sigmas": [0.2], "examples": 20},
            ]
        }
    )
    described = Experiment.parse({**MESSY, "seed": seed, **changes})
    return Task(role="student", experiment=described, evaluations=sweep.suite("student"))


def steps(task: Task, results: Path) -> list[TrialEvent]:
    """Do ``task`` in this process."""
    store = Store(results)
    store.create()
    return list(run_task(task, store=store, data_root=NOWHERE, device=hardware.device([])))


def done(results: Path, *tasks: Task) -> Path:
    """Results of ``tasks``, one after the other."""
    for task in tasks:
        last = steps(task, results)[-1]
        assert last.text == "completed", last
    return results


def test_a_trial_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    def state() -> dict[str, Any]:
        # Not Python's own generator: the tests' check of shapes draws from it.
        return {
            "torch": torch.random.get_rng_state().tolist(),
            "numpy": np.random.get_state()[1].tolist(),
            "type": torch.get_default_dtype(),
            "gradient": torch.is_grad_enabled(),
            "folder": Path.cwd(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "threads": torch.get_num_threads(),
            "environment": dict(os.environ),
            "device": torch.get_default_device(),
        }

    before = state()
    done(tmp_path / "results", messy())
    diverging = messy(training={"epochs": 2, "optimizer": {"name": "sgd", "learning_rate": 1e30}})
    assert steps(diverging, tmp_path / "results")[-1].text == "diverged"
    stopped = run_task(
        messy(3), store=Store(tmp_path / "results"), data_root=NOWHERE, device=hardware.device([])
    )
    next(stopped)
    stopped.close()
    assert state() == before


def test_what_others_left_in_the_process_changes_no_bit(tmp_path: Path) -> None:
    alone = [done(tmp_path / f"alone-{seed}", messy(seed)) for seed in (0, 1)]
    torch.manual_seed(123)
    torch.randn(17)
    np.random.seed(5)
    random.seed(7)
    torch.set_num_threads(2)
    swapped = done(tmp_path / "swapped", messy(1), messy(0))
    assert torch.get_num_threads() == 1
    both = tables(swapped)
    for results in alone:
        own = tables(results)
        (trial_id,) = own["trials"]["trial_id"]
        of_both = {
            name: frame[frame["trial_id"] == trial_id].reset_index(drop=True)
            for name, frame in both.items()
        }
        assert_same_bits(own, of_both)


# 10, 12, 13


def test_versions_of_ray_that_break_the_limit_are_not_installed() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    (ray,) = [each for each in map(Requirement, project["dependencies"]) if each.name == "ray"]
    assert not ray.specifier.contains("2.54.0")
    assert not ray.specifier.contains("2.57.1")
    assert ray.specifier.contains("2.58.0")


def test_every_trial_of_a_parallel_search_is_repeated_from_its_own_description(
    engine: Engine, tmp_path: Path
) -> None:
    engine.width = 3
    assert go(tmp_path / "results", RANDOM).exit_status == 0
    found = tables(tmp_path / "results")
    trials = found["trials"].set_index("trial_id")
    assert len(trials.query("role == 'student'")) == 8
    suite = sweep_of().suite("student")
    # Backwards, one by one, from what is written in the rows and nothing else.
    again = tmp_path / "again"
    for text in reversed(trials.query("role == 'student'")["experiment"].tolist()):
        described = Experiment.parse(json.loads(text))
        for each in reversed(list(ancestors(described))):
            task = Task(
                role="student" if each is described else "teacher",
                experiment=each,
                evaluations=suite,
            )
            if not (again / "weights" / f"{each.trial_id}.safetensors").exists():
                done(again, task)
    for name, frame in tables(again).items():
        wanted = found[name][found[name]["trial_id"].isin(frame["trial_id"])].reset_index(drop=True)
        assert_same_bits({name: wanted}, {name: frame})


def test_the_readme_says_on_what_parallel_tpe_depends() -> None:
    text = " ".join((PACKAGE.parent / "sweeps" / "README.md").read_text().split())
    assert "TPE depends on the order in which they end" in text
    assert "every trial can be repeated from its own description" in text


def loaded_by(*modules: str) -> set[str]:
    """Everything of kdray that the import of ``modules`` loads, as far as its files' top levels
    say."""
    found: set[str] = set()
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        place = PACKAGE.parent / Path(*name.split("."))
        file = next(
            (each for each in (place.with_suffix(".py"), place / "__init__.py") if each.exists()),
            None,
        )
        if file is None or name in found:
            continue
        found.add(name)
        waiting += [".".join(name.split(".")[:n]) for n in range(2, name.count(".") + 1)]
        waiting += top_level(file)
    return found


def top_level(file: Path) -> Iterable[str]:
    """The imports of a file that happen when it is loaded, type checking aside."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


OPENS = {
    "create_study",
    "load_study",
    "RDBStorage",
    "delete_study",
    "get_all_study_names",
    "copy_study",
}


def test_nothing_that_a_worker_loads_opens_a_study() -> None:
    def opens(path: Path) -> bool:
        return any(
            isinstance(node, ast.Attribute) and node.attr in OPENS
            for node in ast.walk(ast.parse(path.read_text()))
        )

    on_disk = {path.stem for path in FILES if "RDBStorage" in path.read_text()}
    assert on_disk == {"mirror"}
    in_a_worker = loaded_by("kdray.sweep.execution.actor", "kdray.trials.run")
    assert {
        "kdray.sweep.scheduling.jobs",
        "kdray.training.loop",
        "kdray.robustness.pgd",
    } <= in_a_worker
    opening = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in FILES
        if opens(path)
    }
    assert "kdray.sweep.search.mirror" in opening
    assert opening & in_a_worker == set()


# 16, 17, 21


def test_cpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert hardware.cpus() == 3
    assert this_machine().cpu == 3
    with pytest.raises(
        InputError,
        match=r"resources\.student\.cpu: 4 asked for, the largest node \(this machine\) has 3",
    ):
        go(Path("/nowhere/results"), {"resources": {"student": {"cpu": 4}}})


def test_a_trial_has_as_many_threads_as_cpus(engine: Engine, results: Path) -> None:
    go(results, ALONE, {"resources": {"student": {"cpu": 1.5}}, "seeds": 1}, cpus=2)
    assert {grant.threads for grant in engine.grants} == {1}
    assert [Grant(cpu=cpu).threads for cpu in (0.25, 1.0, 2.0, 7.9)] == [1, 1, 2, 7]
    source = (PACKAGE / "sweep/execution/actor.py").read_text()
    assert "grant=Grant.model_validate_json(" in source


def test_what_is_told_of_an_epoch_is_numbers_and_does_not_grow(tmp_path: Path) -> None:
    monitor = {
        "suite": [{"label": "pgd", "name": "pgd", "steps": 1, "examples": 20, "split": "val"}]
    }
    sizes = {}
    for epochs in (2, 12):
        every = steps(
            messy(training={"epochs": epochs, "batch_size": 50, "monitor": monitor}),
            tmp_path / str(epochs),
        )
        told = [step for step in every if isinstance(step, EpochDone)]
        assert len(told) == epochs, "once an epoch"
        assert all(
            isinstance(value, float | int)
            for step in every
            for value in step.named_metrics.values()
        )
        assert "pgd.accuracy" in told[-1].metrics
        sizes[epochs] = max(len(step.model_dump_json()) for step in every)
    assert sizes[12] < sizes[2] + 20
    assert sizes[12] < 2000


def test_of_trials_that_have_ended_the_driver_keeps_no_reports() -> None:
    queues = pytest.importorskip("kdray.sweep.execution.tune_searcher")
    tasks = [Task(role="student", experiment=ONE.student(point, 0, None)) for point in ONE.grid()]
    told = Told(*map(group, tasks))
    queue = queues.JobSearcher(told.queue, lambda _: {})

    def report(event: TrialEvent) -> dict[str, Any]:
        return {"event": event.model_dump_json()}

    epoch = EpochDone(stage="main", epoch=1, epochs=2, done=1, metrics={})
    for name in ("one", "two"):
        assert queue.suggest(name) == {}
        assert queue.hear(name, report(epoch)) is False
        ended = report(Ended(outcome=Outcome.COMPLETED))
        assert queue.hear(name, ended) is True
        queue.on_trial_complete(name, ended)
    assert queue.error is None
    assert [ended[1] for ended in told.ended] == ["completed", "completed"]
    kept = {
        name: value
        for owner in (queue, told.queue)
        for name, value in vars(owner).items()
        if isinstance(value, dict | list | set) and value and name.startswith("_")
    }
    assert {
        name: value
        for name, value in kept.items()
        if "EpochDone" in repr(value) or "Ended" in repr(value) or "one" in repr(value)
    } == {}


def test_the_device_of_a_trial_is_asked_for_in_one_place() -> None:
    """Where Ray's grant is known. What else asks torch whether there is a GPU decides about no
    trial."""
    asking = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if "cuda.is_available" in path.read_text()
    }
    assert asking - {"machine/hardware.py"} <= {"cli/doctor.py", "cli/__init__.py"}
    granted = [
        node
        for node in ast.walk(ast.parse((PACKAGE / "sweep/execution/actor.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hardware.device"
    ]
    assert len(granted) == 1
    assert "get_accelerator_ids" in ast.unparse(granted[0])
