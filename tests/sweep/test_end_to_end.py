"""A sweep on a real Ray, from the file to the tables, as its user sees it: through the command
line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.small_trials import TIMINGS

if TYPE_CHECKING:
    from tests.faults.support import Process  # which imports this module

pytestmark = pytest.mark.ray

TINY = """
name: tiny
seeds: 2
experiment:
  data: {name: digits}
  model: {name: mlp, hidden: [16], dropout: 0.1}
  teacher: {model: {name: mlp, hidden: [64]}, seeds: 2}
  noise: {input: {name: gaussian, sigma: {grid: [0, 0.2]}}, labels: {name: uniform, rate: 0.1}}
  method: {name: kd}
  training: {epochs: 3, batch_size: 64, optimizer: {name: sgd, learning_rate: 0.05}}
evaluate:
  suite:
    - {label: pgd2, name: pgd, epsilon: 0.1, step_size: 0.05, steps: 2}
    - {name: clean, split: val}
"""


def kdray(
    *arguments: str | Path, cwd: Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kdray", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """The trials, epochs and robustness tables, without what is allowed to differ, as plain pandas
    reads them."""
    out = {}
    for table in ("trials", "epochs", "robustness"):
        frame = pd.read_parquet(results / table)
        frame = frame.drop(columns=[name for name in TIMINGS if name in frame])
        keys = [name for name in ("trial_id", "epoch", "evaluation_id", "metric") if name in frame]
        out[table] = frame.sort_values(keys).reset_index(drop=True)
    return out


def assert_same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for table, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[table], check_exact=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny sweep has run, undisturbed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    done = kdray("run", "tiny.yaml", cwd=folder)
    assert "6 trials run" in done.stdout
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 6, "Ray's own output came through"
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_tables_are_complete(finished: Path) -> None:
    trials, epochs, robustness = (
        pd.read_parquet(finished / "results" / t) for t in ("trials", "epochs", "robustness")
    )
    members = pd.read_parquet(finished / "results" / "members")
    assert trials["status"].tolist() == ["completed"] * 6
    assert sorted(trials["role"]) == ["student"] * 4 + ["teacher"] * 2
    assert trials["val_accuracy"].between(0.5, 1).all()
    assert trials.loc[trials["role"] == "student", "noise.input.sigma"].tolist().count(0.2) == 2
    assert (epochs.groupby("trial_id").size() == 3).all()
    assert set(members["outcome"]) == {"completed"}
    # The chosen teacher and every student are measured; the other candidate is not.
    chosen = trials.loc[trials["role"] == "student", "teacher_id"].unique()
    students = trials.loc[trials["role"] == "student", "trial_id"]
    assert len(chosen) == 1
    assert set(robustness["trial_id"]) == {*chosen, *students}
    best = trials[trials["role"] == "teacher"].sort_values(
        ["val_accuracy", "seed"], ascending=[False, True]
    )
    assert best["trial_id"].iloc[0] == chosen[0]


def test_workers_that_trained_teachers_go_on_with_students(finished: Path) -> None:
    logs = [path.read_text() for path in (finished / "results" / "logs").rglob("*.log")]
    process = re.compile(r"begun: (teacher|student) on .* process (\d+),")
    found = [each for log in logs for each in process.findall(log)]
    teachers, students = (
        {pid for role, pid in found if role == one} for one in ("teacher", "student")
    )
    assert teachers & students


def test_a_second_run_trains_nothing_and_does_without_what_takes_seconds(copy: Path) -> None:
    """Ray, and torch's compiler."""
    before = {path: path.stat().st_mtime_ns for path in (copy / "results").rglob("*.parquet")}
    script = (
        "import sys, kdray.cli; kdray.cli.main(['run', 'tiny.yaml']); sys.exit({'ray', "
        "'torch._dynamo'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=copy, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == "set()\n"
    assert "nothing left to do, 6 there already" in done.stdout
    assert {
        path: path.stat().st_mtime_ns for path in (copy / "results").rglob("*.parquet")
    } == before


def test_only_what_is_new_is_done(copy: Path) -> None:
    done = kdray(
        "run",
        "tiny.yaml",
        "--set",
        "seeds=3",
        "--set",
        "noise.input.sigma={grid: [0, 0.2, 0.4]}",
        cwd=copy,
    )
    assert "5 trials run" in done.stdout
    text = (
        copy / "tiny.yaml"
    ).read_text() + "    - {label: noise, name: gaussian_noise, sigmas: [0.3]}\n"
    (copy / "tiny.yaml").write_text(text)
    before = pd.read_parquet(copy / "results" / "trials")
    assert (
        "5 trials run" in kdray("run", "tiny.yaml", cwd=copy).stdout
    )  # measured only: four students and the teacher
    pd.testing.assert_frame_equal(before, pd.read_parquet(copy / "results" / "trials"))
    assert (pd.read_parquet(copy / "results" / "robustness")["label"] == "noise").sum() == 5


def test_half_of_the_students_files_deleted_come_back_with_the_same_numbers(copy: Path) -> None:
    before = tables(copy / "results")
    students = sorted(before["trials"].loc[before["trials"]["role"] == "student", "trial_id"])
    for trial_id in students[::2]:
        for path in (copy / "results").rglob(f"*{trial_id}*"):
            path.unlink()
    assert "2 trials run, 4 there already" in kdray("run", "tiny.yaml", cwd=copy).stdout
    assert_same(before, tables(copy / "results"))


def test_new_evaluations_of_stored_weights(copy: Path) -> None:
    (copy / "suite.yaml").write_text("- {label: noise, name: gaussian_noise, sigmas: [0.1, 0.2]}\n")
    assert (
        "6 trials measured"
        in kdray("evaluate", "results", "--suite", "suite.yaml", cwd=copy).stdout
    )
    assert (pd.read_parquet(copy / "results" / "robustness")["label"] == "noise").sum() == 12
    assert (
        "nothing left to do"
        in kdray("evaluate", "results", "--suite", "suite.yaml", cwd=copy).stdout
    )


def test_tpe_searches_and_its_study_opens_in_optuna(copy: Path) -> None:
    import optuna

    search = ["--set", "name=search", "--set", "search={sampler: tpe, points: 4, startup: 2}"]
    space = [
        "--set",
        "method.temperature={loguniform: [1, 10]}",
        "--set",
        "noise.input.sigma={uniform: [0, 0.5]}",
    ]
    assert "8 trials run" in kdray("run", "tiny.yaml", *search, *space, cwd=copy).stdout
    study = optuna.load_study(
        study_name="search", storage=f"sqlite:///{copy}/results/studies/search.db"
    )
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 6
    assert ["known" in trial.user_attrs for trial in study.trials] == [True] * 2 + [False] * 4, (
        "the grid is told first"
    )
    trials = pd.read_parquet(copy / "results" / "trials")
    for trial in study.trials[2:]:
        seeds = trials[trials["method.temperature"] == trial.params["method.temperature"]]
        assert trial.value == pytest.approx(seeds["val_accuracy"].mean())
        assert {"pgd2.accuracy", "clean.accuracy", "seeds"} <= set(trial.user_attrs)
    assert "nothing left to do" in kdray("run", "tiny.yaml", *search, *space, cwd=copy).stdout


def test_a_local_ray_starts_also_where_a_cluster_is_named(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "2 trials run" in kdray("run", "tiny.yaml", "--set", "seeds=3", cwd=copy).stdout


def test_a_running_cluster_is_joined_and_left_running(copy: Path) -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
    )
    try:
        address = ray.get_runtime_context().gcs_address
        done = kdray("run", "tiny.yaml", "--set", "seeds=3", "--address", address, cwd=copy)
        assert "2 trials run" in done.stdout
        assert ray.nodes()[0]["Alive"]
    finally:
        ray.shutdown()


def test_diverged_trials_are_rows_and_the_exit_status_says_so(copy: Path) -> None:
    rates = "training.optimizer.learning_rate={grid: [0.05, 1.0e+30]}"
    teacher = "teacher.training={epochs: 3, optimizer: {name: sgd, learning_rate: 0.05}}"
    done = kdray("run", "tiny.yaml", "--set", rates, "--set", teacher, cwd=copy, check=False)
    assert done.returncode == 1
    assert "4 failed" in done.stderr
    assert "Diverged: the loss is" in done.stderr
    trials = pd.read_parquet(copy / "results" / "trials")
    assert (trials["status"] == "diverged").sum() == 4
    assert (
        kdray(
            "run", "tiny.yaml", "--set", rates, "--set", teacher, cwd=copy, check=False
        ).returncode
        == 1
    )


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kdray", "run", "tiny.yaml", *arguments]
    # A shell starts what it puts into the background with SIGINT ignored, these tests perhaps among
    # them.
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: object, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.02)


LONG = ["--set", "training.epochs=200", "--set", "seeds=4"]
"""2 teachers and 8 students of some seconds each: time to disturb them after the first has
ended."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The tables of the tiny sweep with longer trials, run without a disturbance."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "tiny.yaml").write_text(TINY)
    kdray("run", "tiny.yaml", *LONG, cwd=folder)
    return tables(folder / "results")


def students_done(folder: Path) -> int:
    rows = folder / "results" / "members"
    return (
        len([path for path in rows.glob("*.parquet") if "-teacher-" not in path.name])
        if rows.is_dir()
        else 0
    )


def workers_of(driver: subprocess.Popen[str]) -> list[Process]:
    """Processes of trial actors that ``driver`` runs now; other tests may run theirs beside it."""
    from tests.faults.support import descendants  # which imports this module

    found = []
    for process in descendants(driver.pid):
        try:
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command.startswith((b"ray::TrialActor", b"ray::ResourceTrainable")):  # idle, at work
            found.append(process)
    return found


@pytest.mark.faults
def test_a_driver_killed_in_the_middle_loses_and_repeats_nothing(
    tmp_path: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    driver = start(tmp_path, *LONG)
    wait_for(lambda: students_done(tmp_path) >= 1)
    # While it lives it is seen, and a second one is refused.
    with ThreadPoolExecutor() as pool:
        second = pool.submit(kdray, "run", "tiny.yaml", *LONG, cwd=tmp_path, check=False)
        status = pool.submit(kdray, "status", "results", cwd=tmp_path)
    assert second.result().returncode == 2
    assert (
        f"is being run in {tmp_path}/results already, by process {driver.pid}"
        in second.result().stderr
    )
    assert f"running by process {driver.pid}" in status.result().stdout
    workers = workers_of(driver)
    assert workers
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    wait_for(lambda: not any(worker.alive for worker in workers))
    done = {path.name for path in (tmp_path / "results" / "trials").glob("*.parquet")}
    written = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "results" / "trials").glob("*.parquet")
    }
    assert 3 <= len(done) < 10
    kdray("run", "tiny.yaml", *LONG, cwd=tmp_path)
    assert all(path.stat().st_mtime_ns == then for path, then in written.items()), (
        "a finished trial ran again"
    )
    assert_same(undisturbed, tables(tmp_path / "results"))


@pytest.mark.faults
def test_a_worker_killed_in_the_middle_goes_on_from_its_checkpoint(
    tmp_path: Path, undisturbed: dict[str, pd.DataFrame]
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    driver = start(tmp_path, *LONG)
    wait_for(lambda: list((tmp_path / "results" / "checkpoints").glob("*.safetensors")))
    os.kill(workers_of(driver)[0].pid, signal.SIGKILL)  # one of the two that train a teacher
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert_same(undisturbed, tables(tmp_path / "results"))


@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_how_to_go_on(
    tmp_path: Path, undisturbed: dict[str, pd.DataFrame], how: signal.Signals
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    driver = start(tmp_path, *LONG)
    wait_for(lambda: students_done(tmp_path) >= 1)
    workers = workers_of(driver)
    assert workers
    driver.send_signal(how)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130, errors
    assert "To go on:  kdray run tiny.yaml --set training.epochs=200 --set seeds=4" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not any(worker.alive for worker in workers))
    kdray("run", "tiny.yaml", *LONG, cwd=tmp_path)
    assert_same(undisturbed, tables(tmp_path / "results"))


def test_a_damaged_part_and_a_damaged_checkpoint_are_named_and_redone(copy: Path) -> None:
    before = tables(copy / "results")
    student = before["trials"].loc[before["trials"]["role"] == "student", "trial_id"].iloc[0]
    part = copy / "results" / "trials" / f"{student}.parquet"
    part.write_bytes(part.read_bytes()[:100])
    (copy / "results" / "checkpoints" / f"{student}.safetensors").write_bytes(b"not a checkpoint")
    done = kdray("run", "tiny.yaml", cwd=copy)
    assert f"{student}.parquet: damaged" in done.stderr
    assert f"{student}.safetensors is damaged" in done.stderr
    assert "1 trial run, 5 there already" in done.stdout
    assert_same(before, tables(copy / "results"))
