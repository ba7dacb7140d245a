"""What an object store does to a results folder when it or the network fails: nothing but a
wait."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.results import Store, open_results, write_rows
from kdray.results.files import store as store_module
from kdray.results.files.compact import merge_small
from kdray.results.files.location import printable, with_suffix
from kdray.results.files.store import OutOfReach
from tests.results.s3 import BUCKET, KEY, S3, SECRET, Fault

DATA = bytes(range(256)) * 4
TRANSIENT: list[Fault] = ["drop", "lose answer", "cut answer", "500", "503", "429"]
ACTS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("weights/a"),
    "write": lambda store: store.write("weights/a", DATA),
    "exists": lambda store: store.exists("weights/a"),
    "names": lambda store: store.names("weights", "a"),
    "delete": lambda store: store.delete("weights/a"),
}
EXPECTED: dict[str, object] = {
    "read": DATA,
    "write": None,
    "exists": True,
    "names": ["weights/a"],
    "delete": None,
}


@pytest.fixture(autouse=True)
def _short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of milliseconds, and every attempt is one of ours."""
    monkeypatch.setattr(store_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(store_module, "PATIENCE", 0.2)
    monkeypatch.setattr(store_module, "REQUEST_ATTEMPTS", 1)


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def store(s3: S3) -> Store:
    s3.objects["results/weights/a"] = DATA
    return Store(s3.uri())


@pytest.mark.parametrize("fault", TRANSIENT)
@pytest.mark.parametrize("act", ACTS)
def test_what_fails_for_a_while_is_done_in_the_end(
    s3: S3, store: Store, act: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 60)  # how long three attempts take says nothing
    s3.fail(fault, fault, fault)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfReach)
        assert ACTS[act](store) == EXPECTED[act]
    assert s3.failures_left == 0 or fault == "cut answer", "an answer without a body cannot be cut"
    assert s3.objects.get("results/weights/a") == (None if act == "delete" else DATA)


@pytest.mark.parametrize("act", ACTS)
def test_what_goes_on_failing_is_a_connection_error_that_names_the_file(
    s3: S3, store: Store, act: str
) -> None:
    with (
        s3.failing("503"),
        pytest.warns(OutOfReach, match="trying again"),
        pytest.raises(ConnectionError, match=f"^s3://{BUCKET}/results/weights"),
    ):
        ACTS[act](store)
    assert len(s3.requests) > 3
    assert s3.objects["results/weights/a"] == DATA


@pytest.mark.parametrize("act", ACTS)
def test_what_is_forbidden_fails_at_once(s3: S3, store: Store, act: str) -> None:
    with (
        s3.failing("403"),
        pytest.raises(OSError, match=f"^s3://{BUCKET}/results/weights.*ACCESS_DENIED") as caught,
    ):
        ACTS[act](store)
    assert not isinstance(caught.value, ConnectionError)
    assert len(s3.requests) == 1


def test_what_is_not_there_is_not_asked_for_again(s3: S3, store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("weights/none")
    store.delete("weights/none")
    assert len(s3.requests) == 2


def test_pauses_double_up_to_a_longest_and_end_with_the_patience(
    monkeypatch: pytest.MonkeyPatch, s3: S3
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(store_module, "REQUEST_ATTEMPTS", 1)
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(store_module, "time", clock)
    store = Store(s3.uri())
    with s3.failing("429"), pytest.warns(OutOfReach) as warned, pytest.raises(ConnectionError):
        store.write("weights/a", DATA)
    assert len(warned) == 1, "said once"
    full = [min(0.5 * 2**i, 30.0) for i in range(len(pauses))]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(pauses, full, strict=True))
    assert 260 <= sum(pauses) <= 300
    assert len({pause / whole for pause, whole in zip(pauses, full, strict=True)}) > 5, (
        "many workers do not come back at once"
    )
    assert len(s3.requests) == len(pauses) + 1


def test_waiting_draws_nothing_from_the_generator_of_what_is_trained(s3: S3, store: Store) -> None:
    state = random.getstate()
    s3.fail("503", "503")
    with pytest.warns(OutOfReach):
        store.read("weights/a")
    assert random.getstate() == state


@pytest.mark.parametrize("fault", ["cut answer", "short answer"])
def test_a_read_that_ends_early_is_not_believed(s3: S3, store: Store, fault: Fault) -> None:
    with (
        s3.failing(fault, "^GET"),
        pytest.warns(OutOfReach),
        pytest.raises(ConnectionError, match="results/weights/a: "),
    ):
        store.read("weights/a")


def test_an_object_in_parts_appears_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, s3: S3, store: Store
) -> None:
    big = random.Random(0).randbytes(11 * 2**20)
    monkeypatch.setattr(store_module, "PATIENCE", 0.0)
    with s3.failing("503", "PUT .*partNumber"), pytest.raises(ConnectionError):
        store.write("weights/big", big)
    assert "results/weights/big" not in s3.objects
    monkeypatch.setattr(store_module, "PATIENCE", 60.0)
    s3.fail("drop", "503", "lose answer")
    with pytest.warns(OutOfReach):
        store.write("weights/big", big)
    assert s3.objects["results/weights/big"] == big
    assert store.read("weights/big") == big


def test_a_small_file_is_written_by_one_request_and_read_by_two(s3: S3, store: Store) -> None:
    store.write("weights/a", DATA)
    assert [request.method for request in s3.requests] == ["PUT"]
    store.read("weights/a")
    assert [request.method for request in s3.requests] == ["PUT", "HEAD", "GET"]


def test_names_are_those_of_every_page_and_of_this_folder_only(s3: S3, store: Store) -> None:
    names = [f"trials/{number:04}.parquet" for number in range(2500)]
    others = [
        "trials/",
        "trials/sub/a.parquet",
        "trials/.hidden.parquet",
        "trials-old/a.parquet",
        "weights/",
        "trials/a.txt",
    ]
    s3.objects.update({f"results/{name}": b"" for name in [*names, *others]})
    assert store.names("trials", ".parquet") == names
    assert sum("list-type" in request.query for request in s3.requests) == 3
    assert store.names("none", ".parquet") == []
    s3.objects["results/empty/"] = b""
    assert store.names("empty", "") == []
    assert not store.exists("trials")


def test_creating_needs_a_bucket_and_no_more(s3: S3) -> None:
    Store(s3.uri("deep/down")).create()
    assert s3.objects.keys() >= {"deep/down/schema.json"}
    assert {request.bucket for request in s3.requests} == {BUCKET}
    assert not [request for request in s3.requests if not request.key and request.method != "GET"]
    assert not [key for key in s3.objects if ".tmp/" in key and not key.endswith("/")]
    s3.requests.clear()
    open_results(s3.uri("deep/down"))
    with pytest.raises(InputError, match="no results here"):
        open_results(s3.uri("deep"))


def test_a_bucket_is_made_where_the_uri_allows_it(s3: S3) -> None:
    Store(s3.uri(bucket="new", more="&allow_bucket_creation=true")).create()
    assert "results/schema.json" in s3.buckets["new"]


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        ({"bucket": "none"}, "there is no such bucket, and kdray makes none"),
        ({"key": "OTHER"}, "cannot be written .*ACCESS_DENIED"),
    ],
)
def test_a_place_that_cannot_be_written_is_an_input_error_at_once(
    s3: S3, of: dict[str, str], problem: str
) -> None:
    with pytest.raises(
        InputError, match=rf"^--results s3://{of.get('bucket', BUCKET)}/results: {problem}"
    ):
        Store(s3.uri(**of)).create()
    assert len(s3.requests) <= 2


def test_a_bucket_that_may_only_be_read_is_an_input_error_when_written_and_can_be_read(
    s3: S3,
) -> None:
    Store(s3.uri()).create()
    with s3.failing("403", "^(PUT|POST|DELETE)"):
        with pytest.raises(InputError, match="cannot be written"):
            Store(s3.uri()).create()
        assert open_results(s3.uri()).trials().empty


def test_rows_written_through_failures_are_read_through_failures(s3: S3) -> None:
    store = Store(s3.uri())
    store.create()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfReach)
        s3.fail("503", "lose answer")
        write_rows(
            store,
            "epochs",
            "a",
            [{"trial_id": "a", "stage": "main", "epoch": e} for e in range(3)],
            {},
        )
        s3.fail("drop", "cut answer", "short answer", "500", "cut answer", "short answer")
        assert open_results(s3.uri()).epochs()["epoch"].nunique() == 3
    assert s3.failures_left == 0


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AK:se%2Fcret@bucket/a/b?region=x",
        "s3://AK:se/cret@bucket/a/b",
        "s3://AK:12/cret@bucket/a/b",
        "s3://AK@bucket/a/b",
        "s3://AK:se?cret@bucket/a/b?region=x",
        "s3://AK:se@cret@bucket/a/b",
        "s3://AK:se#cr et@bucket/a/b",
        "s3://bucket/a/b?x=y",
        "s3://AK:se%ZZcret@bucket/a/b",
    ],
)
def test_a_location_is_shown_without_key_secret_and_options(uri: str) -> None:
    assert printable(uri) == "s3://bucket/a/b"
    with pytest.raises(InputError) as caught:
        Store(f"{uri}{'&' if '?' in uri.rpartition('@')[2] else '?'}nonsense=1")
    assert str(caught.value).startswith("s3://bucket/a/b: ")
    parts = ("AK", "se/", "se?", "se@", "se#", "se%", "cret@", "cr et", "12/")
    assert not [part for part in parts if part in str(caught.value)]


@pytest.mark.parametrize(
    "location", ["results", "/a/b@c/d", "file:///a/b", "s3://bucket/me@home/b"]
)
def test_a_location_without_secrets_is_shown_as_it_is(location: str) -> None:
    assert printable(location) == location


def test_no_message_holds_key_or_secret(s3: S3) -> None:
    store = Store(s3.uri())
    assert store.location == s3.uri(), "workers need all of it"
    assert store.place == f"s3://{BUCKET}/results"
    told: list[str] = []
    with s3.failing("503"), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for act in (
            store.create,
            store.check_version,
            *(lambda act=act: act(store) for act in ACTS.values()),
        ):
            with pytest.raises((OSError, InputError)) as caught:
                act()
            told.append(repr(caught.value))
    told += [str(each.message) for each in warned]
    assert len(told) == 14
    assert not [text for text in told if KEY in text or SECRET in text or "/K7MDENG" in text]


@pytest.mark.parametrize("option", ["connect_timeout", "request_timeout"])
@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", ""])
def test_a_timeout_is_a_number_of_seconds(s3: S3, option: str, text: str) -> None:
    with pytest.raises(InputError, match=f"{option}={text} is not a number of seconds above 0"):
        Store(s3.uri(more=f"&{option}={text}"))


def test_the_options_of_the_uri_come_first(s3: S3) -> None:
    def options(more: str) -> tuple[object, ...]:
        _, (found,) = Store(s3.uri(more=more))._files.__reduce__()
        return tuple(
            found[name]
            for name in ("connect_timeout", "request_timeout", "allow_delayed_open", "region")
        )

    assert options("") == (5, 20, True, "us-east-1")
    assert options("&connect_timeout=1.5&request_timeout=60") == (1.5, 60, True, "us-east-1")
    assert options("&allow_delayed_open=false") == (5, 20, False, "us-east-1")


def test_a_name_gets_its_ending_before_the_options() -> None:
    assert (
        with_suffix("s3://k:s@bucket/results/?region=x", "-smoke")
        == "s3://k:s@bucket/results-smoke?region=x"
    )
    assert with_suffix("results/", "-smoke") == "results-smoke"
    assert with_suffix("what?/results", "-smoke") == "what?/results-smoke"


def test_small_files_are_merged_there_too_and_the_tables_stay_the_same(s3: S3) -> None:
    store = Store(s3.uri())
    store.create()
    for trial in range(9):
        rows = [
            {"trial_id": f"t{trial}", "stage": "main", "epoch": epoch, "loss": trial / epoch}
            for epoch in (1, 2)
        ]
        write_rows(store, "epochs", f"t{trial}", rows, {})
    before = open_results(s3.uri()).epochs()
    assert merge_small(store, "epochs", 9) == set()
    assert len(store.names("epochs", ".parquet")) == 9, "not more than there may be"
    assert merge_small(store, "epochs", 8) == set()
    assert len(store.names("epochs", ".parquet")) == 1
    pd.testing.assert_frame_equal(open_results(s3.uri()).epochs(), before)
