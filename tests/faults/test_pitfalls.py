"""What breaks in Ray Tune, on a real Ray; the table is that of ``tests/sweep/test_pitfalls.py``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from kdray.results import Store
from kdray.trials.grant import Grant
from kdray.trials.run import run_task
from tests.sweep.fakes import NOWHERE, assert_same_bits, tables
from tests.sweep.scheduling.test_queue import Told, group
from tests.sweep.test_pitfalls import messy

pytestmark = [pytest.mark.ray, pytest.mark.faults]

SEEDS = 4
AT_ONCE = 2
NOTED = "KDRAY_TEST_NOTED"
"""Environment variable of a worker: the file in which it notes what it sees."""
TOGETHER = "together"
"""While there is such a file beside that one, a trial waits until as many run as may: it is shorter
than a start."""


def watch() -> None:
    """Called by Ray in a new worker: every epoch notes its process, torch's threads there, and the
    working directory."""
    from kdray.training import loop as training

    train_epoch, together = training.train_epoch, Path(os.environ[NOTED]).with_name(TOGETHER)

    def noting(state: Any, *rest: Any) -> Any:
        note = {"pid": os.getpid(), "threads": torch.get_num_threads(), "folder": str(Path.cwd())}
        with Path(os.environ[NOTED]).open("a") as file:
            file.write(json.dumps(note) + "\n")
        until = time.monotonic() + 60
        while together.exists() and time.monotonic() < until:
            processes = {
                json.loads(line)["pid"] for line in Path(os.environ[NOTED]).read_text().splitlines()
            }
            if len(processes) >= AT_ONCE:
                time.sleep(1)  # for one too many
                together.unlink(missing_ok=True)
            time.sleep(0.02)
        return train_epoch(state, *rest)

    training.train_epoch = noting


TUNES = "kdray-tune-*"
"""Tune's own folder."""


@dataclass
class Seen:
    """What a callback sees of Tune while it runs."""

    open: set[str] = field(default_factory=set)
    most: int = 0
    files: set[str] = field(default_factory=set)
    """Names in Tune's folder, and in those where its loggers write."""


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray with room for more trials than are allowed at once; what its workers noted."""
    from kdray.sweep.execution.cluster import quiet  # isort: skip  # before ray

    import ray  # isort: skip

    path = tmp_path_factory.mktemp("noted") / "notes"
    # Ray would set OpenMP's threads to the CPUs of a trial, and so hide what kdray does.
    environment = {
        NOTED: str(path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    with quiet():
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="CRITICAL",
            runtime_env={
                "worker_process_setup_hook": f"{__name__}.{watch.__name__}",
                "env_vars": environment,
            },
        )
        try:
            yield path
        finally:
            ray.shutdown()


def on_ray(results: Path, seeds: list[int], grant: Grant, width: int, scratch: Path) -> Seen:
    """Run trials of these seeds, in this order."""
    from ray import tune

    from kdray.sweep.execution import tune_searcher as engine

    seen = Seen()

    class Watching(tune.Callback):  # type: ignore[misc]
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            seen.open.add(trial.trial_id)
            seen.most = max(seen.most, len(seen.open))

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            seen.open.discard(trial.trial_id)
            seen.files |= {
                path.name
                for path in (*scratch.glob(f"{TUNES}/**/*"), *Path(trial.local_path).glob("*"))
            }

        def close(self) -> None:
            """As kdray's own have it."""

        def __reduce__(self) -> tuple[Any, ...]:
            return (tune.Callback, ())

    store = Store(results)
    store.create()
    told = Told(*(group(messy(seed)) for seed in seeds), grant=grant, width=width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(scratch))
        engine.run_trials(told.queue, store=store, data_root=NOWHERE, callbacks=[Watching])
    assert [ended[1] for ended in told.ended] == ["completed"] * len(seeds)
    return seen


@dataclass
class Ran:
    """Trials that ran on Ray, some at once, and the same in one process one after the other, the
    order swapped."""

    scratch: Path
    seen: Seen
    results: Path
    swapped: Path
    notes: list[dict[str, Any]]
    of_swapped: list[dict[str, Any]]


@pytest.fixture(scope="module")
def ran(noted: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    scratch, folder = tmp_path_factory.mktemp("scratch"), tmp_path_factory.mktemp("ran")

    def notes() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in noted.read_text().splitlines()]
        noted.unlink()
        return found

    (noted.parent / TOGETHER).touch()
    seen = on_ray(folder / "results", list(range(SEEDS)), Grant(cpu=2.0), AT_ONCE, scratch)
    first = notes()
    on_ray(folder / "swapped", list(reversed(range(SEEDS))), Grant(cpu=2.0), 1, scratch)
    return Ran(scratch, seen, folder / "results", folder / "swapped", first, notes())


def numbers(found: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Without what a trial does not decide: whether it was offered a GPU, and who commits
    meanwhile."""
    return {**found, "trials": found["trials"].drop(columns=["gpu", "git_commit"])}


def test_no_more_trials_run_at_once_than_were_allowed(ran: Ran) -> None:
    assert ran.seen.most == AT_ONCE
    assert ran.seen.open == set()


def test_tune_logs_nothing_and_its_folder_is_gone_afterwards(ran: Ran) -> None:
    logs = {"progress.csv", "result.json", "params.json", "params.pkl"}
    assert ran.seen.files, "it was looked at while it was there"
    assert ran.seen.files & logs == set()
    assert not [name for name in ran.seen.files if name.startswith("events.out")]
    assert not list(ran.scratch.glob(TUNES))


def test_torch_has_the_threads_of_the_trial_in_the_worker(ran: Ran) -> None:
    assert {note["threads"] for note in ran.notes} == {2}
    assert set(pd.read_parquet(ran.results / "trials")["threads"]) == {2}


def test_in_a_used_process_trials_are_to_the_bit_what_they_are_in_a_new_one(
    ran: Ran, tmp_path: Path
) -> None:
    used = Counter(note["pid"] for note in ran.of_swapped)
    assert list(used.values()) == [2 * SEEDS], "every trial, of two epochs, in one process"
    swapped = tables(ran.swapped)
    # In a process that has trained nothing on Ray, at that number of threads.
    store = Store(tmp_path / "results")
    store.create()
    before = torch.get_num_threads()
    try:
        for seed in range(SEEDS):
            *_, last = run_task(
                messy(seed),
                store=store,
                data_root=NOWHERE,
                device=torch.device("cpu"),
                grant=Grant(cpu=2),
            )
            assert last.text == "completed"
    finally:
        torch.set_num_threads(before)
    alone = tables(tmp_path / "results")
    for other in (tables(ran.results), alone):
        assert_same_bits(numbers(other), numbers(swapped))


def test_in_another_working_directory_the_same_results_are_written(ran: Ran) -> None:
    assert str(Path.cwd()) not in {note["folder"] for note in ran.notes}
    assert len(list((ran.results / "trials").iterdir())) == SEEDS


TINY = """
name: tiny
seeds: 2
experiment:
  data: {name: digits, examples: 200}
  model: {name: mlp, hidden: [8]}
  noise: {input: {name: gaussian, sigma: {grid: [0, 0.2]}}}
  training: {epochs: 2, batch_size: 20}
"""


def test_the_console_shows_kdrays_lines_only(tmp_path: Path) -> None:
    """What Ray says, and the libraries below it, would come to either of the two."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-m", "kdray", "run", "tiny.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = re.compile(
        r"students: \d+ at once, limited by .*|students +4/4 .*|.*\b4 done\b.*|students: .*"
    )
    assert [line for line in done.stderr.splitlines() if not ours.fullmatch(line)] == []
    assert not re.search(r"(?<!kd)ray|tune|warn|╭|\(pid", done.stdout + done.stderr, re.IGNORECASE)
