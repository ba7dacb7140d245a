"""Disks that are full for the workers, or for all; the same command finishes when there is room, as
if nothing had been.

What happens to damaged files needs no Ray and is in ``sweep/test_file_faults.py``.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.faults.support import (
    FOLDER,
    PATIENCE,
    Fault,
    Sweep,
    assert_as_undisturbed,
    undisturbed,
    wait_for,
    wreck,
)

pytestmark = [pytest.mark.ray, pytest.mark.faults]

SIZE = 4 * 2**20
"""Bytes of a disk that holds the results of the tiny sweep, and no more than a few of them."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray that is not the sweep's own."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def narrow() -> None:
    """Called by Ray in a new worker: while there is a limit, the kernel lets no file of the process
    grow beyond it."""
    wreck()
    limit = Path(os.environ[FOLDER]) / "limit"
    if limit.exists():
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit.read_text()), resource.RLIM_INFINITY))


@pytest.mark.parametrize("limit", [8_000, 60_000], ids=["nor states", "though states"])
def test_workers_whose_rows_find_no_room(tmp_path: Path, address: str, limit: int) -> None:
    """Python ignores the signal for it: a write fails, with an error of its own but otherwise as on
    a full disk."""
    sweep = Sweep(tmp_path, address=address)
    tree = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    tree["resources"]["runtime_env"]["worker_process_setup_hook"] = f"{__name__}.{narrow.__name__}"
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    (tmp_path / "limit").write_text(str(limit))
    done = sweep.run()
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "--retry-failed" not in done.stderr
    place = f"{sweep.results}/trials"
    teachers = undisturbed().ids("teacher")
    errors = {
        trial_id: f"OSError: [Errno 27] File too large: '{place}/{trial_id}.parquet'"
        for trial_id in teachers
    }
    assert sweep.errors() == {trial_id: f"failed: {error}" for trial_id, error in errors.items()}, (
        "written by the driver"
    )
    for trial_id, error in errors.items():
        assert f"{trial_id}: {error}" in done.stderr
        assert (sweep.results / "checkpoints" / f"{trial_id}.safetensors").exists() == (
            limit == 60_000
        )
    assert not list((sweep.results / ".tmp").iterdir())
    (tmp_path / "limit").unlink()
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert_as_undisturbed(sweep)


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """A disk of its own, and small, at ``place``."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("disks cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, *, but: int) -> None:
    """Leave so many bytes."""
    found = os.statvfs(place)
    (place / "ballast").write_bytes(bytes(found.f_bavail * found.f_frsize - but))


@pytest.mark.parametrize("kilobytes", [16, 350])
def test_a_disk_that_is_nearly_full(tmp_path: Path, address: str, kilobytes: int) -> None:
    """For the driver too; how far it comes differs."""
    sweep = Sweep(tmp_path, address=address)
    with disk(sweep.results):
        fill(sweep.results, but=kilobytes * 1024)
        done = sweep.run()
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "No space left on device" in done.stderr or "disk is full" in done.stderr
        (sweep.results / "ballast").unlink()
        done = sweep.run()
        assert done.returncode == 0, done.stderr
        assert_as_undisturbed(sweep)


def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path, address: str) -> None:
    students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", students), address=address)
    with disk(sweep.results):
        with sweep.driver() as driver:
            wait_for(lambda: len(sweep.at("epoch 2", students)) == 2)
            fill(sweep.results, but=0)
            sweep.go_on()
            _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 1, errors
        assert "Traceback" not in errors
        assert "No space left on device" in errors or "disk is full" in errors
        there = {path.stem for path in (sweep.results / "trials").glob("*.parquet")}
        assert there >= set(undisturbed().ids("teacher")), "what was finished is kept"
        (sweep.results / "ballast").unlink()
        before = sweep.events()
        done = sweep.run()
        assert done.returncode == 0, done.stderr
        again = sweep.events()[len(before) :]
        assert not {event.trial_id for event in again if event.step.startswith("epoch")} & set(
            undisturbed().ids("teacher")
        )
        begun = {
            event.trial_id
            for event in before
            if event.step == "epoch 2" and event.trial_id in students
        }
        assert not [
            event for event in again if event.trial_id in begun and event.step == "epoch 1"
        ], "they go on from there"
        assert_as_undisturbed(sweep)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("folder", ["trials", ".tmp", "members"])
def test_a_folder_that_may_only_be_read_from_some_moment_on(
    tmp_path: Path, address: str, folder: str
) -> None:
    students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", students), address=address)
    with sweep.driver() as driver:
        wait_for(lambda: len(sweep.at("epoch 2", students)) == 2)
        (sweep.results / folder).chmod(0o555)
        try:
            sweep.go_on()
            _, errors = driver.communicate(timeout=PATIENCE)
        finally:
            (sweep.results / folder).chmod(0o755)
    assert driver.returncode == 1, errors
    assert "Permission denied" in errors
    assert "Traceback" not in errors
    assert sweep.run().returncode == 0
    assert_as_undisturbed(sweep)


def test_parts_damaged_while_the_sweep_runs_are_made_again_by_the_next(
    tmp_path: Path, address: str
) -> None:
    """A teacher's weights in the hands of its students, and its row."""
    students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", students), address=address)
    with sweep.driver() as driver:
        wait_for(lambda: len(sweep.at("epoch 2", students)) == 2)
        for path in [*(sweep.results / "weights").iterdir(), *(sweep.results / "trials").iterdir()]:
            path.write_bytes(path.read_bytes()[:-20])
        sweep.go_on()
        _, errors = driver.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert driver.returncode == 1, errors
    trials = pd.concat(
        pd.read_parquet(path)
        for path in (sweep.results / "trials").iterdir()
        if path.stem in students
    )
    assert trials["error"].dropna().str.startswith("Damaged: ").all()
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert "damaged, left out" in done.stderr
    assert_as_undisturbed(sweep)
