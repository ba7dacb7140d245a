"""One driver per sweep and results folder: the second one is refused, a dead one is in nobody's
way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Store
from kdray.sweep.scheduling.lock import only_driver, running

HOLDER = """
import sys, time
from kdray.results import Store
from kdray.sweep.scheduling.lock import only_driver
with only_driver(Store(sys.argv[1]), "s"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    store.create()
    return store


def test_a_second_driver_is_refused_and_told_who_the_first_one_is(store: Store) -> None:
    with only_driver(store, "s"):
        with pytest.raises(InputError) as raised, only_driver(store, "s"):
            pass
        assert str(raised.value).startswith(
            f"sweep 's' is being run in {store.location} already, by process {os.getpid()} on "
        )
    with only_driver(store, "s"):
        pass


def test_another_sweep_and_another_folder_are_free(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    other.create()
    with only_driver(store, "s"), only_driver(store, "s2"), only_driver(other, "s"):
        assert running(store, "s") is not None


def test_the_lock_is_given_back_when_the_block_ends_with_an_error(store: Store) -> None:
    with pytest.raises(KeyError), only_driver(store, "s"):
        raise KeyError
    assert running(store, "s") is None


def test_running_tells_who_it_is_while_it_is(store: Store) -> None:
    assert running(store, "s") is None
    with only_driver(store, "s"):
        assert str(running(store, "s")).startswith(f"by process {os.getpid()} on ")
    assert running(store, "s") is None
    with only_driver(store, "s"):
        pass


def test_a_holder_that_has_not_said_who_it_is_holds_all_the_same(store: Store) -> None:
    with only_driver(store, "s"):
        assert store.folder is not None
        (store.folder / "locks" / "s.lock").write_text("")
        assert running(store, "s") == "by another process"


def test_a_killed_holder_gives_its_lock_back(store: Store) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, store.location], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert str(running(store, "s")).startswith(f"by process {holder.pid} on ")
        with (
            pytest.raises(InputError, match=f"by process {holder.pid} on "),
            only_driver(store, "s"),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert running(store, "s") is None
    with only_driver(store, "s"):
        assert str(running(store, "s")).startswith(f"by process {os.getpid()} on ")


def test_a_folder_on_an_object_store_is_not_locked(store: Store) -> None:
    store.folder = None
    with only_driver(store, "s"), only_driver(store, "s"):
        assert running(store, "s") is None
