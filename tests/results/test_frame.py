"""The frame of one sweep: its trials in their roles, its numbers under its names."""

from __future__ import annotations

import pytest

from kdray.core import InputError
from kdray.results import Results, write_rows
from kdray.results.record import write_labels
from tests.results.made import add_point


def measure(
    results: Results, trial_id: str, evaluation_id: str, value: float, **axes: object
) -> None:
    row = {"trial_id": trial_id, "evaluation_id": evaluation_id, "metric": "accuracy"}
    row |= {"label": "pgd", "evaluation": "pgd", "split": "test", "value": value, **axes}
    write_rows(results.store, "robustness", f"{trial_id}-{evaluation_id}", [row], {})


def teach(results: Results, trial_id: str, sweep: str = "s") -> None:
    row = {"sweep": sweep, "role": "teacher", "trial_id": trial_id, "outcome": "completed"}
    write_rows(results.store, "members", f"{sweep}-teacher-{trial_id}", [row], {})


def test_a_trial_has_in_the_frame_of_a_sweep_the_role_that_it_has_there(empty: Results) -> None:
    (teacher,) = add_point(empty, 0, [0.9], sweep="alone")
    (student,) = add_point(empty, 0, [0.5])
    teach(empty, teacher)
    roles = {
        sweep: empty.frame(sweep).groupby("role")["val_accuracy"].mean().to_dict()
        for sweep in ("s", "alone")
    }
    assert roles == {"s": {"student": 0.5, "teacher": 0.9}, "alone": {"student": 0.9}}
    assert empty.frame()["role"].tolist() == ["student"] * 2
    assert set(empty.measured_trials("s")["trial_id"]) == {teacher, student}


def test_a_teacher_that_is_a_case_on_its_own_has_a_row_as_a_student_too(empty: Results) -> None:
    (both,) = add_point(empty, 0, [0.9], case="teacher alone")
    teach(empty, both)
    frame = empty.frame("s")
    assert frame[["trial_id", "role"]].drop_duplicates().shape == (2, 2)
    assert frame.groupby("role")["val_accuracy"].mean().to_dict() == {
        "student": 0.9,
        "teacher": 0.9,
    }
    assert frame.columns.tolist() == empty.frame().columns.tolist()


def test_the_frame_of_a_sweep_has_its_trials_only(empty: Results) -> None:
    (own,) = add_point(empty, 0, [0.5])
    add_point(empty, 0, [0.6], sweep="t")
    assert empty.frame("s")["trial_id"].tolist() == [own]
    with pytest.raises(InputError, match=r"no sweep 'u' \(there are: s, t\)"):
        empty.frame("u")


def test_a_sweep_s_own_evaluations_are_named_without_regard_to_others(empty: Results) -> None:
    (shared,) = add_point(empty, 0, [0.5])
    measure(empty, shared, "weak", 0.4, epsilon=0.1)
    measure(empty, shared, "strong", 0.2, epsilon=0.2)
    write_labels(empty.store, "s", {"strong": "pgd"})
    frame = empty.frame("s")
    assert frame["pgd.accuracy"].tolist() == [0.2]
    assert frame["pgd.accuracy[weak]"].tolist() == [0.4]
    assert empty.frame()["pgd.accuracy"].tolist() == [0.2], "it has no other sweep"


def test_a_label_with_a_new_meaning_leaves_the_old_numbers_before_there_are_new_ones(
    empty: Results,
) -> None:
    (trial,) = add_point(empty, 0, [0.5])
    for sigma in (0.1, 0.2):
        measure(empty, trial, f"old{sigma}", 0.4, sigma=sigma)
        measure(empty, trial, f"noise{sigma}", 0.3, label="noise", sigma=sigma)
    write_labels(empty.store, "s", {"new": "pgd", "newer": "noise"})
    for frame in (empty.frame("s"), empty.frame()):
        measured = {name for name in frame if "." in str(name)}
        assert measured == {
            "pgd.accuracy[old0.1]",
            "pgd.accuracy[old0.2]",
            "noise.accuracy[noise0.1]",
            "noise.accuracy[noise0.2]",
        }
    rows = empty.robustness(["label"], sweep="s")
    assert not set(rows["label"]) & {"pgd", "noise"}
    assert empty.robustness(where=[("label", "==", "pgd")], sweep="s").empty


def test_a_label_that_one_sweep_has_renamed_is_gone_though_another_shares_the_trial(
    empty: Results,
) -> None:
    (shared,) = add_point(empty, 0, [0.5])
    teach(empty, shared, "t")
    measure(empty, shared, "e1", 0.2)
    write_labels(empty.store, "s", {"e1": "renamed"})
    assert [name for name in empty.frame() if "." in name] == ["renamed.accuracy"]


def test_what_is_measured_while_training_may_share_a_label(empty: Results) -> None:
    (trial,) = add_point(empty, 0, [0.5])
    measure(empty, trial, "watched", 0.4, epoch=1)
    measure(empty, trial, "own", 0.2)
    write_labels(empty.store, "s", {"own": "pgd"})
    assert set(empty.robustness(sweep="s")["label"]) == {"pgd"}
    write_labels(empty.store, "s", {"own": "pgd"}, {"watched": "seen"})
    rows = empty.robustness(sweep="s").set_index("evaluation_id")["label"]
    assert rows.to_dict() == {"watched": "seen", "own": "pgd"}
    assert set(empty.frame("s")["pgd.accuracy"]) == {0.2}


@pytest.mark.parametrize("axes", [{}, {"examples": 10}])
def test_another_evaluation_never_takes_the_name_of_the_sweep_s_own(
    empty: Results, axes: dict[str, object]
) -> None:
    (shared,) = add_point(empty, 0, [0.5])
    measure(empty, shared, "own", 0.2, epsilon=0.2)
    measure(empty, shared, "other", 0.4, **axes)
    write_labels(empty.store, "s", {"own": "pgd"})
    frame = empty.frame("s")
    assert frame["pgd.accuracy"].tolist() == [0.2]
    (other,) = [name for name in frame if name.startswith("pgd.accuracy[")]
    assert frame[other].tolist() == [0.4]


def test_one_evaluation_on_two_data_sets_is_one_column(empty: Results) -> None:
    for number, data in enumerate(("digits", "mnist")):
        (made,) = add_point(empty, number, [0.5], {"data.name": data}, data={"name": data})
        measure(empty, made, "own", 0.2, dataset=data, examples=10 * number + 10)
    assert empty.frame("s")["pgd.accuracy"].tolist() == [0.2, 0.2]
    assert empty.points("pgd.accuracy")["n"].tolist() == [1, 1]


def test_rows_of_a_sweep_have_its_labels(empty: Results) -> None:
    (shared,) = add_point(empty, 0, [0.5])
    (foreign,) = add_point(empty, 0, [0.5], sweep="t")
    for trial_id in (shared, foreign):
        measure(empty, trial_id, "own", 0.2)
    write_labels(empty.store, "s", {"own": "attack"})
    found = empty.robustness(["value"], [("label", "==", "attack")], sweep="s")
    assert found.to_dict("records") == [{"value": 0.2}]
    assert empty.robustness(sweep="s")["label"].tolist() == ["attack"]
    assert empty.robustness(where=[("label", "==", "attack")]).empty


def test_a_sweep_may_have_labels_only_of_what_is_measured_while_training(empty: Results) -> None:
    (trial,) = add_point(empty, 0, [0.5])
    measure(empty, trial, "watched", 0.4, epoch=1)
    measure(empty, trial, "other", 0.2)
    write_labels(empty.store, "s", {}, {"watched": "seen"})
    assert [name for name in empty.frame() if "." in name] == ["pgd.accuracy"]
    assert set(empty.robustness(sweep="s")["label"]) == {"pgd", "seen"}


def test_strengths_that_are_the_same_in_six_digits_have_a_column_each(empty: Results) -> None:
    (trial,) = add_point(empty, 0, [0.5])
    rows = [
        {
            "trial_id": trial,
            "evaluation_id": "one",
            "metric": "accuracy",
            "label": "pgd",
            "evaluation": "pgd",
            "split": "test",
            "value": value,
            "epsilon": epsilon,
        }
        for value, epsilon in ((0.9, 0.0313725), (0.1, 8 / 255), (0.5, 0.1))
    ]
    write_rows(empty.store, "robustness", f"{trial}-one", rows, {})
    frame = empty.frame("s")
    assert {name: frame[name].item() for name in frame if name.startswith("pgd.")} == {
        "pgd.accuracy[epsilon=0.0313725]": 0.9,
        f"pgd.accuracy[epsilon={8 / 255!r}]": 0.1,
        "pgd.accuracy[epsilon=0.1]": 0.5,
    }
