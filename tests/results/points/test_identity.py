"""The identity of a point is the same, whether the sweep wrote it or a reader derives it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdray.core import canonical_json
from kdray.results import Results, write_rows
from kdray.results.points.identity import point_id_of
from kdray.trials.experiment import Experiment
from tests.small_trials import description, distillation, experiment


def chained(own: int = 0, teachers: int = 0, above: int = 0) -> Experiment:
    """A student of a student, with its seed and those of the two that teach above it."""
    teacher = description(seed=teachers, teacher=description(seed=above), method={"name": "kd"})
    return distillation(seed=own, teacher=teacher)


TRIALS = {
    "without a teacher": experiment(),
    "with a seed": experiment(seed=3),
    "with a teacher": distillation(),
    "with seeds": distillation(seed=2).model_copy(update={"teacher": experiment(seed=5)}),
    "with a teacher's teacher": chained(),
    "with the seed of one": chained(above=3),
    "with seeds all the way up": chained(1, 2, 3),
}


@pytest.mark.parametrize("name", TRIALS)
def test_both_ways_to_the_identity_agree(name: str) -> None:
    assert point_id_of(canonical_json(TRIALS[name])) == TRIALS[name].point_id


def test_seeds_of_student_and_teacher_are_no_part_of_it_and_all_else_is() -> None:
    taught = distillation()
    assert taught.teacher is not None
    other_seeds = taught.model_copy(
        update={"seed": 7, "teacher": taught.teacher.model_copy(update={"seed": 9})}
    )
    assert other_seeds.trial_id != taught.trial_id
    assert other_seeds.point_id == taught.point_id
    longer = taught.training.model_copy(update={"epochs": 99})
    assert taught.model_copy(update={"training": longer}).point_id != taught.point_id


def test_a_seed_that_is_written_further_up_is_a_part_of_it() -> None:
    """Only the teacher of the student is chosen among seeds."""
    assert chained(7, 9).point_id == chained().point_id
    assert chained(7, 9, above=1).point_id == chained(above=1).point_id
    assert chained(above=1).point_id != chained(above=0).point_id


def first_schema(results: Results, name: str, renamed: dict[str, str]) -> None:
    """Make a file what version 1 of the schema wrote."""
    assert results.store.folder is not None
    path = results.store.folder / name
    part = pq.read_table(path)
    part = part.drop_columns([c for c in ("point_id",) if c in part.column_names])
    part = part.rename_columns([renamed.get(column, column) for column in part.column_names])
    pq.write_table(part.replace_schema_metadata({"kdray_schema": "1"}), path)


@pytest.fixture
def old(empty: Results) -> Results:
    """A point of which one seed was trained and one given up, another that has no teacher."""
    for seed in (0, 1):
        trial = distillation(seed=seed)
        member = {"sweep": "s", "role": "student", "point": 0, "swept": '{"a": 1}', "order": seed}
        member |= {"trial_id": trial.trial_id, "outcome": "pruned" if seed else "completed"}
        write_rows(empty.store, "members", f"m{seed}", [member], {})
        row = {"trial_id": trial.trial_id, "status": "completed", "val_accuracy": 0.5}
        row |= {"experiment": canonical_json(trial), "seed": seed}
        if seed == 0:
            write_rows(empty.store, "trials", trial.trial_id, [row], {})
    lost = {"sweep": "s", "role": "student", "point": 1, "swept": '{"a": 2}', "outcome": "failed"}
    write_rows(empty.store, "members", "m2", [lost], {})
    number = {"trial_id": distillation().trial_id, "evaluation_id": "e", "label": "clean"}
    number |= {"metric": "accuracy", "value": 0.5, "evaluation_parameters": '{"name":"clean"}'}
    write_rows(empty.store, "robustness", "e", [number], {})
    for name in ("m0", "m1", "m2"):
        first_schema(empty, f"members/{name}.parquet", {"swept": "parameters"})
    first_schema(empty, "robustness/e.parquet", {"evaluation_parameters": "parameters"})
    return empty


def test_results_of_the_first_schema_are_read(old: Results) -> None:
    members = old.members().sort_values("point", kind="stable")
    assert members["swept"].tolist() == ['{"a": 1}', '{"a": 1}', '{"a": 2}']
    assert members["point_id"].tolist()[:2] == [distillation().point_id] * 2
    assert members["point_id"].notna().all()
    assert members["point_id"].nunique() == 2
    numbers = old.robustness(["trial_id", "evaluation_parameters"])
    assert numbers["evaluation_parameters"].tolist() == ['{"name":"clean"}']
    assert old.members(where=[("swept", "==", '{"a": 2}')])["outcome"].tolist() == ["failed"]
    assert old.points("val_accuracy")["n"].tolist() == [1, 0]


def test_a_folder_of_the_first_schema_becomes_one_of_todays_when_it_is_written_to(
    old: Results,
) -> None:
    old.store.write("schema.json", b'{"kdray_schema": 1}')
    old.store.create()
    assert b'"kdray_schema": 2' in old.store.read("schema.json")


def test_files_of_the_first_schema_are_compacted_into_todays(old: Results) -> None:
    from kdray.results.files.compact import compact

    before = old.members()
    compact(old.store)
    (name,) = old.store.names("members", ".parquet")
    stored = pq.read_table(pa.BufferReader(old.store.read(name)))
    assert stored.schema.metadata[b"kdray_schema"] == b"2"
    assert "swept" in stored.column_names
    assert "parameters" not in stored.column_names
    assert old.members().equals(before)
