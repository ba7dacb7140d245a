"""A trial's log: lines that are there when they are needed, and that harm nothing when they cannot
be written."""

from __future__ import annotations

import faulthandler
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdray.results import DamagedFile, Store
from kdray.trials.log import LONGEST, Log, log_file
from tests.small_trials import store_in

NAME = log_file("t")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "results")


@pytest.fixture
def remote() -> Store:
    """pyarrow's mock file system stands for an object store."""
    store = Store("mock:///results")
    store.create()
    return store


def lines(store: Store) -> list[str]:
    """The log without its times."""
    return [re.sub(f"^{TIME}", "", line) for line in store.read(NAME).decode().splitlines()]


def test_a_line_is_in_the_file_as_soon_as_it_is_said_with_its_time(store: Store) -> None:
    with Log(store, "t") as log:
        for count in (1, 2, 3):
            log.say(f"line\n {count}")
            assert lines(store) == [f"line {n}" for n in range(1, count + 1)]
    assert all(re.match(TIME, line) for line in store.read(NAME).decode().splitlines())


@pytest.mark.parametrize("place", ["store", "remote"])
def test_a_second_log_of_the_trial_adds_to_the_first(
    place: str, request: pytest.FixtureRequest
) -> None:
    store = request.getfixturevalue(place)
    for text in ("first", "second"):
        with Log(store, "t") as log:
            log.say(text)
    assert lines(store) == ["first", "second"]


def test_on_an_object_store_lines_are_written_when_they_are_saved_and_at_the_end(
    remote: Store,
) -> None:
    with Log(remote, "t") as log:
        log.say("one")
        assert not remote.exists(NAME)
        log.save()
        log.say("two")
        assert lines(remote) == ["one"]
    assert lines(remote) == ["one", "two"]


def test_a_log_of_nothing_is_no_file(store: Store) -> None:
    with Log(store, "t") as log:
        log.save()
    assert not store.exists(NAME)


@pytest.mark.parametrize("place", ["store", "remote"])
def test_what_ends_the_block_is_told_with_its_traceback_and_goes_on(
    place: str, request: pytest.FixtureRequest
) -> None:
    store = request.getfixturevalue(place)
    with pytest.raises(KeyError), Log(store, "t"):  # noqa: PT012
        try:
            raise OSError("the cause")
        except OSError as error:
            raise KeyError("x") from error
    found = lines(store)
    assert found[0] == "ended: KeyError: 'x'"
    assert all(line.startswith("    ") for line in found[1:])
    assert "    OSError: the cause" in found
    assert found[-1] == "    KeyError: 'x'"
    assert any(__file__ in line for line in found)


def test_of_a_long_traceback_the_end_is_kept(store: Store) -> None:
    with Log(store, "t") as log:
        log.failure("failed", ValueError("\n".join(["x"] * LONGEST + ["the end"])))
    assert lines(store)[-1] == "    the end"
    assert len(store.read(NAME)) < 10 * LONGEST


def test_a_generator_that_is_closed_has_stopped_early(store: Store) -> None:
    def going() -> Iterator[int]:
        with Log(store, "t"):
            yield 1
            yield 2

    steps = going()
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert lines(store) == ["stopped early"]


def test_items_come_through_with_what_they_took(store: Store) -> None:
    found = list(Log(store, "t").watching(iter("abc")))
    assert [item for item, _ in found] == ["a", "b", "c"]
    assert all(seconds >= 0 for _, seconds in found)


def test_what_kdray_warns_of_is_told_and_still_warned_of(store: Store) -> None:
    def warning() -> Iterator[int]:
        warnings.warn("of kdray", DamagedFile, stacklevel=1)
        yield 1
        warnings.warn("of another", UserWarning, stacklevel=1)

    shown = warnings.showwarning
    with Log(store, "t") as log, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        log.say("begun")
        for _ in log.watching(warning()):
            warnings.warn("between two items", DamagedFile, stacklevel=1)
    assert [str(each.message) for each in warned] == ["of kdray", "between two items", "of another"]
    assert lines(store) == ["begun", "warning: of kdray"]
    assert warnings.showwarning is shown


@pytest.mark.parametrize("before", [True, False])
def test_crashes_are_caught_while_an_item_is_made_and_as_before_otherwise(
    before: bool, store: Store
) -> None:
    was = faulthandler.is_enabled()
    (faulthandler.enable if before else faulthandler.disable)()
    try:
        with Log(store, "t") as log:
            log.say("begun")
            seen = []
            for during, _ in log.watching(faulthandler.is_enabled() for _ in range(2)):
                seen.append((during, faulthandler.is_enabled()))
        assert seen == [(True, before)] * 2
        assert faulthandler.is_enabled() == before
    finally:
        (faulthandler.enable if was else faulthandler.disable)()


def test_a_process_that_crashes_leaves_its_traceback(store: Store) -> None:
    script = (
        "import faulthandler, sys\n"
        "from kdray.trials.log import Log\n"
        "from kdray.results import Store\n"
        "def items():\n"
        "    yield 1\n"
        "    faulthandler._sigsegv()\n"
        "with Log(Store(sys.argv[1]), 't') as log:\n"
        "    for item, _ in log.watching(items()):\n"
        "        log.say('done')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, store.location], capture_output=True, text=True, check=False
    )
    assert ran.returncode < 0
    # The first item was made before there was a file to crash into.
    assert lines(store)[:2] == ["done", "Fatal Python error: Segmentation fault"]
    assert any("in items" in line for line in lines(store))
    assert "Segmentation fault" not in ran.stderr


def full(store: Store) -> None:
    """Every write fails as on a full disk."""
    assert store.folder is not None
    (store.folder / "logs").mkdir(exist_ok=True)
    (store.folder / NAME).symlink_to("/dev/full")


def a_folder_in_its_place(store: Store) -> None:
    assert store.folder is not None
    (store.folder / NAME).mkdir(parents=True)


@pytest.mark.parametrize("harm", [full, a_folder_in_its_place])
def test_a_log_that_cannot_be_written_raises_nothing(harm: Any, store: Store) -> None:
    harm(store)
    with Log(store, "t") as log:
        for text in ("one", "two"):
            log.say(text)
        assert [item for item, _ in log.watching(iter("ab"))] == ["a", "b"]


def test_on_an_object_store_what_could_not_be_saved_is_saved_later(
    remote: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no network")

    with Log(remote, "t") as log:
        log.say("one")
        for name in ("write", "read"):
            with monkeypatch.context() as patched:
                patched.setattr(remote, name, broken)
                log.save()
        assert not remote.exists(NAME)
    assert lines(remote) == ["one"]
