"""Rows come back as they were written, the newest where several speak of one thing, whatever
happened to some files."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdray.core import InputError
from kdray.results import (
    SCHEMA_VERSION,
    TABLES,
    ConflictingRows,
    DamagedFile,
    Results,
    Row,
    Store,
    TableName,
    open_results,
    write_rows,
)
from kdray.results.files.arrow_schema import arrow_schema

CONFIGURATION = {
    "method.temperature": float,
    "model.depth": int,
    "data.name": str,
    "noise.input.clip": bool,
}


@pytest.fixture(params=["path", "file URI"])
def results(request: pytest.FixtureRequest, tmp_path: Path) -> Results:
    folder = tmp_path / "results"
    store = Store(str(folder) if request.param == "path" else folder.as_uri())
    store.create()
    return open_results(store.location)


@pytest.fixture
def folder(results: Results) -> Path:
    assert results.store.folder is not None
    return results.store.folder


def write(
    results: Results, table: TableName, *rows: Row, file: str, extra: dict[str, type] | None = None
) -> None:
    write_rows(results.store, table, file, rows, extra or {})


def trial(trial_id: str = "t", **fields: Any) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "status": "completed",
        "val_accuracy": 0.9,
        "test_accuracy": 0.8,
        **fields,
    }


def number(
    label: str = "clean", value: float = 0.5, trial_id: str = "t", **fields: Any
) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "evaluation_id": f"of {label}",
        "label": label,
        "metric": "accuracy",
        "value": value,
        **fields,
    }


def wrong(label: str = "clean", trial_id: str = "t") -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "evaluation_id": f"of {label}",
        "label": label,
        "error": "OutOfMemoryError: ",
    }


def rewrite(path: Path, change: Any) -> None:
    """Change a file as if it had been written so, before there was a digest of its columns."""
    part = change(pq.read_table(path))
    pq.write_table(
        part.replace_schema_metadata({b"kdray_schema": part.schema.metadata[b"kdray_schema"]}), path
    )


# What is written


def test_values_come_back_with_their_types_and_what_a_row_lacks_is_null(results: Results) -> None:
    began = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    row = {
        "seed": 3,
        "started_at": began,
        "method.temperature": 4,
        "model.depth": 16,
        "data.name": "digits",
        "noise.input.clip": True,
    }
    write(results, "trials", trial(**row), file="t", extra=CONFIGURATION)
    (read,) = results.trials().to_dict("records")
    assert {name: read[name] for name in row} == row
    assert isinstance(read["method.temperature"], float)
    assert all(pd.isna(read[name]) for name in set(read) - set(trial(**row)))


def test_a_column_that_the_schema_lacks_is_refused_and_nothing_is_written(results: Results) -> None:
    with pytest.raises(ValueError, match=r"no such columns in trials: acuracy, model\.width"):
        write(
            results,
            "trials",
            trial(acuracy=1.0),
            trial(**{"model.width": 2}),
            file="t",
            extra=CONFIGURATION,
        )
    assert results.store.names("trials", ".parquet") == []


@pytest.mark.parametrize("table", list(TABLES))
def test_every_file_has_the_full_schema_with_unit_meaning_version_and_its_name(
    results: Results, folder: Path, table: Any
) -> None:
    extra = CONFIGURATION if table == "trials" else {}
    write(results, table, {"trial_id": "t"}, file="t", extra=extra)
    schema = arrow_schema(table, extra)
    schema = schema.with_metadata({**schema.metadata, b"kdray_file": f"{table}/t.parquet"})
    assert pq.read_schema(folder / table / "t.parquet").equals(schema, check_metadata=True)


def test_pandas_reads_the_folder_though_the_first_file_has_columns_without_a_value(
    results: Results, folder: Path
) -> None:
    write(results, "trials", trial("a"), file="a", extra=CONFIGURATION)
    full = trial(
        "b", error="it broke", seed=1, **{"data.name": "digits", "method.temperature": 2.5}
    )
    write(results, "trials", full, file="b", extra=CONFIGURATION)
    read = pd.read_parquet(folder / "trials").set_index("trial_id")
    assert read.loc["b", "error"] == "it broke"
    assert read.loc["b", "data.name"] == "digits"
    assert read.loc["b", "method.temperature"] == 2.5
    assert read.loc["a"].isna()["error"]


def test_several_rows_of_one_act_are_all_there(results: Results) -> None:
    write(
        results,
        "epochs",
        *({"trial_id": "t", "stage": "main", "epoch": e, "loss": 1 / e} for e in (1, 2, 3)),
        file="t",
    )
    assert results.epochs()["loss"].tolist() == [1, 1 / 2, 1 / 3]


def test_the_last_stage_comes_after_all_others(results: Results) -> None:
    epochs = [("warmup", 1), ("warmup", 2), ("main", 1)]
    for trial in ("b", "a"):
        rows = ({"trial_id": trial, "stage": stage, "epoch": epoch} for stage, epoch in epochs)
        write(results, "epochs", *rows, file=trial)
    found = results.epochs(["trial_id", "stage", "epoch"])
    assert found.to_numpy().tolist() == [
        [trial, *epoch] for trial in ("a", "b") for epoch in epochs
    ]


# Empty and partly older results


def test_no_rows_give_empty_frames_with_all_columns(results: Results) -> None:
    frames = {
        "members": results.members(),
        "trials": results.trials(),
        "epochs": results.epochs(),
        "robustness": results.robustness(),
    }
    for table, frame in frames.items():
        assert frame.empty
        stored = [name for name in frame if name not in ("low", "high")]
        assert stored == [c.name for c in TABLES[table] if c.name != "written_at"]  # type: ignore[index]
    assert list(results.frame()) == list(results.trials())


def test_results_that_were_all_written_before_a_column_was_added_are_read(
    results: Results, folder: Path
) -> None:
    write(results, "trials", trial("one"), file="a")
    write(results, "robustness", number("noise", 0.9, trial_id="one", sigma=0.1), file="a")
    rewrite(
        folder / "robustness" / "a.parquet",
        lambda part: part.drop_columns(["peak", "samples", "class"]),
    )
    assert results.robustness()[["value", "sigma"]].to_numpy().tolist() == [[0.9, 0.1]]
    assert results.robustness()[["peak", "samples", "class"]].isna().all(axis=None)
    assert results.frame()["noise.accuracy"].tolist() == [0.9]


def test_a_column_that_an_older_file_lacks_is_null_there(results: Results, folder: Path) -> None:
    write(results, "trials", trial("old", cpu="lost with the column"), file="old")
    write(
        results,
        "trials",
        trial("new", cpu="fast", **{"model.depth": 16}),
        file="new",
        extra=CONFIGURATION,
    )
    rewrite(folder / "trials" / "old.parquet", lambda part: part.drop_columns(["cpu", "host"]))
    read = results.trials().set_index("trial_id")
    assert read.loc["new", ["cpu", "model.depth"]].tolist() == ["fast", 16]
    assert read.loc["old"].isna()[["cpu", "host", "model.depth"]].all()
    assert read.loc["old", "val_accuracy"] == 0.9


@pytest.mark.parametrize(
    ("later", "value", "read"), [(float, 2.5, [2.0, 2.5]), (str, "wide", ["2", "wide"])]
)
def test_a_configuration_column_may_have_become_wider(
    results: Results, later: type, value: Any, read: list[Any]
) -> None:
    write(results, "trials", trial("a", **{"model.width": 2}), file="a", extra={"model.width": int})
    write(
        results,
        "trials",
        trial("b", **{"model.width": value}),
        file="b",
        extra={"model.width": later},
    )
    assert results.trials()["model.width"].tolist() == read


@pytest.mark.parametrize("where", ["the folder", "a file"])
def test_results_of_a_newer_schema_are_refused(results: Results, folder: Path, where: str) -> None:
    write(results, "trials", trial(), file="t")
    if where == "the folder":
        (folder / "schema.json").write_text(f'{{"kdray_schema": {SCHEMA_VERSION + 1}}}')
        read: Any = lambda: open_results(results.store.location)  # noqa: E731
    else:
        metadata = {"kdray_schema": str(SCHEMA_VERSION + 1)}
        rewrite(
            folder / "trials" / "t.parquet", lambda part: part.replace_schema_metadata(metadata)
        )
        read = results.trials
    with pytest.raises(
        InputError,
        match=rf"of schema {SCHEMA_VERSION + 1}, this kdray reads up to {SCHEMA_VERSION}",
    ):
        read()


# Damage


def flipped(whole: bytes) -> bytes:
    """With one bit changed in an accuracy, which only a checksum notices."""
    footer = pq.read_metadata(pa.BufferReader(whole))
    chunk = footer.row_group(0).column(footer.schema.names.index("test_accuracy"))
    last = chunk.data_page_offset - 1  # of the dictionary, which ends with the number
    return whole[:last] + bytes([whole[last] ^ 1]) + whole[last + 1 :]


DAMAGE = {
    "empty": lambda whole: b"",
    "truncated": lambda whole: whole[: len(whole) // 2],
    "without its end": lambda whole: whole[:-1],
    "random": lambda whole: bytes(i * i % 251 for i in range(len(whole))),
    "zeros in the middle": lambda whole: whole[:100] + bytes(400) + whole[500:],
    "one bit flipped": flipped,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_left_out_and_the_others_are_read(
    results: Results, folder: Path, damage: Any
) -> None:
    for trial_id in ("a", "b", "c"):
        write(results, "trials", trial(trial_id), file=trial_id)
    path = folder / "trials" / "b.parquet"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(DamagedFile, match=r"trials/b\.parquet: damaged, left out") as caught:
        assert results.trials()["trial_id"].tolist() == ["a", "c"]
    assert [warning.filename for warning in caught] == [__file__], (
        "once, and where the reader asked"
    )


def test_files_that_are_no_part_of_a_table_do_not_matter(results: Results, folder: Path) -> None:
    write(results, "trials", trial(), file="t")
    for name in (
        ".tmp/0123.parquet",
        ".tmp/4567",
        "trials/.t.parquet.swp",
        "trials/.nfs0123.parquet",
        "trials/notes.txt",
    ):
        (folder / name).write_bytes(b"half a file")
    (folder / "trials" / "folder.parquet").mkdir()
    assert results.trials()["trial_id"].tolist() == ["t"]


def test_a_file_taken_away_while_reading_is_no_damage(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(results, "trials", trial(), file="t")
    monkeypatch.setattr(
        results.store, "names", lambda *_: ["trials/gone.parquet", "trials/t.parquet"]
    )
    assert results.trials()["trial_id"].tolist() == ["t"]


# Several rows for one thing


@pytest.mark.parametrize(
    "files", [("a", "b"), ("b", "a")], ids=["in order", "against the order of names"]
)
def test_of_rows_with_one_key_the_newest_counts(results: Results, files: tuple[str, str]) -> None:
    for file, host in zip(files, ("old", "new"), strict=True):
        write(results, "trials", trial(host=host), trial("other"), file=file)
        write(
            results,
            "members",
            {"sweep": "s", "trial_id": "t", "point": 1, "outcome": host},
            file=file,
        )
        write(
            results,
            "epochs",
            {"trial_id": "t", "stage": "main", "epoch": 1, "loss": len(host + file)},
            file=file,
        )
    assert results.trials()[["trial_id", "host"]].fillna("").to_numpy().tolist() == [
        ["other", ""],
        ["t", "new"],
    ]
    assert results.members()["outcome"].tolist() == ["new"]
    assert len(results.epochs()) == 1


def test_a_sweeps_teacher_which_has_no_point_is_replaced_too(results: Results) -> None:
    for file, outcome in (("a", "failed"), ("b", "completed")):
        write(results, "members", {"sweep": "s", "trial_id": "t", "outcome": outcome}, file=file)
    assert results.members()["outcome"].tolist() == ["completed"]


def test_conflicting_accuracies_are_warned_of_and_the_newer_one_counts(results: Results) -> None:
    write(results, "trials", trial("same"), trial("disputed"), file="b")
    write(results, "trials", trial("same"), trial("disputed", test_accuracy=0.7), file="a")
    with pytest.warns(
        ConflictingRows, match="trials: disputed: stored with different numbers, the newest count"
    ) as caught:
        read = results.trials().set_index("trial_id")
    assert len(caught) == 1
    assert read["test_accuracy"].to_dict() == {"same": 0.8, "disputed": 0.7}


def test_no_warning_where_accuracies_agree_or_an_attempt_failed(results: Results) -> None:
    write(
        results,
        "trials",
        trial(status="failed", val_accuracy=None, test_accuracy=None, error="OSError: "),
        file="a",
    )
    write(results, "trials", trial(host="one"), file="b")
    write(results, "trials", trial(host="two"), file="c")
    (read,) = results.trials().to_dict("records")
    assert (read["status"], read["host"]) == ("completed", "two")
    assert pd.isna(read["error"])


def test_one_file_under_two_names_counts_once(results: Results, folder: Path) -> None:
    write(results, "trials", trial(), file="t")
    write(
        results,
        "members",
        {"sweep": "s", "trial_id": "t"},
        {"sweep": "s", "trial_id": "t", "point": 1},
        file="t",
    )
    write(
        results,
        "epochs",
        *({"trial_id": "t", "stage": "main", "epoch": e} for e in (1, 2)),
        file="t",
    )
    write(
        results,
        "robustness",
        number("noise", sigma=0.1),
        number("noise", sigma=0.2),
        wrong("pgd"),
        file="t",
    )
    before = [
        results.members(),
        results.trials(),
        results.epochs(),
        results.robustness(),
        results.frame(),
    ]
    for table in TABLES:
        shutil.copy(folder / table / "t.parquet", folder / table / "copy.parquet")
    after = [
        results.members(),
        results.trials(),
        results.epochs(),
        results.robustness(),
        results.frame(),
    ]
    for one, two in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(one, two)


def test_a_later_good_measurement_replaces_the_error(results: Results) -> None:
    write(results, "robustness", wrong("noise"), file="z")
    write(
        results,
        "robustness",
        number("noise", 0.6, sigma=0.1),
        number("noise", 0.4, sigma=0.2),
        file="a",
    )
    assert results.robustness()["value"].tolist() == [0.6, 0.4]
    assert results.robustness()["error"].isna().all()


def test_measuring_again_replaces_all_numbers_of_that_evaluation_and_no_others(
    results: Results,
) -> None:
    write(
        results,
        "robustness",
        number("noise", 0.1, sigma=0.1),
        number("noise", 0.2, sigma=0.2),
        file="b",
    )
    write(results, "robustness", number("clean", 0.9), file="c")
    write(results, "robustness", number("noise", 0.5, sigma=0.1), file="a")
    with pytest.warns(
        ConflictingRows, match="robustness: t of noise accuracy .*: stored with different numbers"
    ):
        assert results.robustness()["value"].tolist() == [0.9, 0.5]


def test_a_later_failure_never_replaces_a_success(results: Results) -> None:
    write(results, "trials", trial(), file="a")
    write(
        results,
        "trials",
        trial(status="failed", val_accuracy=None, test_accuracy=None, error="OSError: "),
        file="b",
    )
    write(results, "robustness", number("clean", 0.9), file="a")
    write(
        results,
        "robustness",
        {**number("clean"), "value": None, "metric": None, "error": "OSError: "},
        file="b",
    )
    assert results.trials()["status"].tolist() == ["completed"]
    assert results.robustness()["value"].tolist() == [0.9]


def test_unlike_evaluations_under_one_label_keep_columns_of_their_own(results: Results) -> None:
    write(results, "trials", trial("one"), trial("two"), file="a")
    write(results, "robustness", number("pgd", 0.9, trial_id="one", epsilon=0.1), file="a")
    write(results, "robustness", number("pgd", 0.1, trial_id="two", epsilon=0.2), file="b")
    frame = results.frame().set_index("trial_id")
    assert frame["pgd.accuracy[epsilon=0.1]"].dropna().to_dict() == {"one": 0.9}
    assert frame["pgd.accuracy[epsilon=0.2]"].dropna().to_dict() == {"two": 0.1}


def test_two_folders_merge_by_copying_one_into_the_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store = Store(tmp_path / name)
        store.create()
        write_rows(store, "trials", "shared", [trial("shared")], {})
        write_rows(store, "trials", name, [trial(name)], {})
        write_rows(store, "robustness", f"{name}-clean", [number(trial_id=name)], {})
    shutil.copytree(tmp_path / "two", tmp_path / "one", dirs_exist_ok=True)
    merged = open_results(tmp_path / "one").frame()
    assert merged["trial_id"].tolist() == ["one", "shared", "two"]
    assert merged["clean.accuracy"].fillna(0).tolist() == [0.5, 0, 0.5]


# One frame


def test_frame_names_a_number_by_label_and_metric_and_by_what_varies_within_them(
    results: Results,
) -> None:
    write(results, "trials", trial("a"), trial("b"), file="t", extra=CONFIGURATION)
    write(
        results,
        "robustness",
        number("clean", 0.9, "a"),
        number("clean", 0.3, "a", metric="loss"),
        file="clean",
    )
    attack = {"norm": "linf", "epsilon": 8 / 255, "steps": 20}
    write(
        results,
        "robustness",
        number("pgd20", 0.2, "a", **attack),
        number("pgd20", 0.1, "b", **attack),
        file="pgd",
    )
    write(
        results,
        "robustness",
        *(number("noise", 1 - s, "a", sigma=s) for s in (0.1, 0.25)),
        wrong("broken", "b"),
        file="n",
    )
    frame = results.frame().set_index("trial_id")
    named = [
        "clean.accuracy",
        "clean.loss",
        "pgd20.accuracy",
        "noise.accuracy[sigma=0.1]",
        "noise.accuracy[sigma=0.25]",
    ]
    assert sorted(set(frame) - set(results.trials())) == sorted(named)
    assert frame.loc["a", named].tolist() == [0.9, 0.3, 0.2, 0.9, 0.75]
    assert frame.loc["b", named].isna().tolist() == [True, True, False, True, True]


def test_frame_tells_val_from_test_where_a_label_stands_for_both(results: Results) -> None:
    write(results, "trials", trial(), file="t")
    for split, value in (("val", 0.7), ("test", 0.6)):
        write(
            results,
            "robustness",
            number(value=value, split=split) | {"evaluation_id": split},
            file=split,
        )
    frame = results.frame()
    assert frame["clean.accuracy[split=val]"].tolist() == [0.7]
    assert frame["clean.accuracy[split=test]"].tolist() == [0.6]


def test_frame_without_numbers_or_with_errors_only_is_the_trials(results: Results) -> None:
    write(results, "trials", trial("a"), trial("b"), file="t")
    pd.testing.assert_frame_equal(results.frame(), results.trials())
    write(results, "robustness", wrong(trial_id="a"), file="r")
    pd.testing.assert_frame_equal(results.frame(), results.trials())


def test_frame_leaves_numbers_taken_during_training_to_the_robustness_table(
    results: Results,
) -> None:
    write(results, "trials", trial(), file="t")
    looks = [
        number("pgd", 0.1 * epoch, evaluation_id="while training", epoch=epoch)
        for epoch in (1, 2, 3)
    ]
    gradients = [
        number("gradients", 1.0, metric="mean_gradient", layer=layer, epoch=1)
        for layer in ("conv", "head")
    ]
    write(results, "robustness", *looks, *gradients, file="t-training")
    assert list(results.frame()) == list(results.trials())
    write(results, "robustness", number("pgd", 0.9), file="t-pgd")
    assert set(results.frame()) - set(results.trials()) == {"pgd.accuracy"}
    assert results.frame()["pgd.accuracy"].tolist() == [0.9]
    assert sorted(results.robustness()["epoch"].dropna()) == [1, 1, 1, 2, 3]


def test_numbers_of_one_evaluation_are_told_apart_by_epoch_and_layer(results: Results) -> None:
    rows = [
        number("gradients", epoch + 0.1 * i, layer=layer, epoch=epoch)
        for epoch in (1, 2)
        for i, layer in enumerate("ab")
    ]
    write(results, "robustness", *rows, file="t-training")
    assert sorted(results.robustness()["value"]) == [1.0, 1.1, 2.0, 2.1]


def test_frame_has_one_row_per_trial_measured_or_not_and_none_for_numbers_without_a_trial(
    results: Results,
) -> None:
    write(results, "trials", trial("a"), trial("b"), file="t")
    write(
        results,
        "robustness",
        number(trial_id="b"),
        number(trial_id="trial of another folder"),
        file="r",
    )
    assert results.frame()["trial_id"].tolist() == ["a", "b"]


def test_a_footer_that_names_other_columns_is_damaged(tmp_path: Path) -> None:
    results = Results(tmp_path)
    write_rows(
        results.store,
        "epochs",
        "a",
        [{"trial_id": "a", "stage": "main", "epoch": 1, "loss": 0.5}],
        {},
    )
    path = tmp_path / "epochs" / "a.parquet"
    whole = pq.read_table(path)
    renamed = whole.rename_columns(
        [name if name != "loss" else "lost" for name in whole.column_names]
    )
    pq.write_table(renamed.replace_schema_metadata(whole.schema.metadata), path)
    with pytest.warns(DamagedFile, match="its columns are not those that were written"):
        assert results.epochs().empty
