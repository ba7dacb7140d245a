"""What a sweep file describes: inheritance, cases, overrides, seeds, and the shipped files."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kdray.core import InputError, canonical
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.definition.read import load_sweep, sweep_from
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.trials import Sweep, data_of
from kdray.trials.experiment import Experiment
from tests.sweep.fakes import ALONE, TINY, changed, sweep_of

SWEEPS = Path(__file__).parents[3] / "sweeps"


def teachers(sweep: Sweep) -> list[Experiment]:
    return list(sweep.teachers())


def students(sweep: Sweep) -> list[Experiment]:
    """Every student by point and seed, taught by its first candidate."""
    return [
        sweep.student(point, seed, next(iter(sweep.candidates(point)), None))
        for point in sweep.grid()
        for seed in range(sweep.file.seeds)
    ]


def test_a_teacher_takes_data_and_training_from_its_student_and_never_its_noise() -> None:
    sweep = sweep_of(
        {
            "experiment.noise.labels": {"name": "uniform", "rate": 0.3},
            "experiment.data.augment": "crop",
        }
    )
    teacher, student = teachers(sweep)[0], students(sweep)[0]
    assert student.noise.labels is not None
    assert student.noise.input is not None
    assert (teacher.noise.labels, teacher.noise.input) == (None, None)
    assert (teacher.data, teacher.training) == (student.data, student.training)
    assert teacher.method.name == "cross_entropy"
    assert teacher.teacher is None


def test_what_a_teacher_is_given_wins_over_what_it_would_take() -> None:
    given = {"augment": "flip"}
    sweep = sweep_of(
        {"experiment.teacher.data": given, "experiment.teacher.training": {"epochs": 7}}
    )
    teacher = teachers(sweep)[0]
    assert (teacher.data.augment, teacher.data.name, teacher.training.epochs) == (
        "flip",
        "digits",
        7,
    )
    assert teacher.training.batch_size == 10
    assert students(sweep)[0].training.epochs == 2


def test_another_optimiser_for_the_teacher_is_not_mixed_with_the_students() -> None:
    sweep = sweep_of(
        {
            "experiment.training.optimizer": {"name": "sgd", "momentum": 0.5, "learning_rate": 0.3},
            "experiment.teacher.training": {"optimizer": {"name": "adam"}},
        }
    )
    assert canonical(teachers(sweep)[0])["training"]["optimizer"] == {"name": "adam"}
    assert canonical(students(sweep)[0])["training"]["optimizer"] == {
        "name": "sgd",
        "momentum": 0.5,
        "learning_rate": 0.3,
    }


def test_fields_of_another_data_set_are_not_taken_over() -> None:
    tree = changed(
        TINY,
        {
            "experiment.data": {"name": "usps", "resize": 8, "validation": 300, "augment": "crop"},
            "experiment.teacher.data": {"name": "digits"},
        },
    )
    assert canonical(teachers(sweep_from(tree))[0].data) == {"name": "digits"}


NOT_TAKEN: dict[str, Any] = {
    "data.omit_classes": [3],
    "training.monitor": {"suite": [{"name": "clean", "split": "val"}]},
    "training.gradients": True,
    "supervision.dropout": "active",
    "supervision.noise": [{"name": "signal_dependent", "sigma": 0.1}],
}
"""What concerns the student alone, with a value that is not the default."""


def field(described: Experiment, path: str) -> Any:
    found: Any = described
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", NOT_TAKEN)
def test_a_teacher_does_not_take_what_is_the_students_alone(path: str) -> None:
    dropping = {"experiment.teacher.model": {"name": "mlp", "hidden": [16], "dropout": 0.2}}
    sweep = sweep_of(dropping, {f"experiment.{path}": NOT_TAKEN[path]})
    teacher, student = teachers(sweep)[0], students(sweep)[0]
    assert field(student, path) != field(students(sweep_of(dropping))[0], path)
    assert teachers(sweep) == teachers(sweep_of(dropping))
    assert (teacher.data.examples, teacher.training.epochs) == (200, 2), (
        "of the same parts it takes the rest"
    )


@pytest.mark.parametrize(
    "keep",
    [
        {"best": "clean.accuracy"},
        {"best": {"grid": ["clean.accuracy", "weak.accuracy"]}},
        {"grid": ["best_validation", {"best": "clean.accuracy"}]},
    ],
)
def test_a_teacher_does_not_keep_by_a_monitor_that_it_does_not_take(keep: dict[str, Any]) -> None:
    weak = {"label": "weak", "name": "fgsm", "split": "val"}
    monitor = {"suite": [{"name": "clean", "split": "val"}, weak]}
    sweep = sweep_of({"experiment.training.monitor": monitor, "experiment.training.keep": keep})
    assert {teacher.training.keep for teacher in teachers(sweep)} == {"last"}
    assert {str(student.training.keep) for student in students(sweep)} >= {
        "best='clean[1].accuracy'"
    }


def test_a_teacher_keeps_as_its_student_where_that_needs_no_monitor() -> None:
    sweep = sweep_of({"experiment.training.keep": "best_validation"})
    assert {teacher.training.keep for teacher in teachers(sweep)} == {"best_validation"}


def test_a_teachers_teacher_does_not_take_them_either_and_sweeping_them_trains_no_more_teachers() -> (
    None
):
    grand = {"model": {"name": "mlp", "hidden": [32]}}
    sweep = sweep_of(
        {"experiment.teacher.teacher": grand, "experiment.teacher.method": {"name": "kd"}},
        {
            "experiment.teacher.data": {"omit_classes": [1]},
            "experiment.data.omit_classes": {"grid": [[], [3]]},
        },
    )
    assert {teacher.data.omit_classes for teacher in teachers(sweep)} == {(1,)}
    assert {
        teacher.teacher.data.omit_classes for teacher in teachers(sweep) if teacher.teacher
    } == {()}
    assert len(teachers(sweep)) == 2
    assert {student.data.omit_classes for student in students(sweep)} == {(), (3,)}


def test_a_teacher_may_be_given_what_it_does_not_take() -> None:
    look = {"suite": [{"name": "clean", "split": "val"}]}
    teacher = teachers(
        sweep_of({"experiment.teacher.training": {"monitor": look, "gradients": True}})
    )[0]
    assert teacher.training.gradients
    assert teacher.training.monitor is not None
    assert (teacher.training.epochs, teacher.training.batch_size) == (2, 10)


def test_a_swept_leaf_that_a_teacher_takes_follows_the_students() -> None:
    sweep = sweep_of({"experiment.training.batch_size": {"grid": [25, 50]}})
    assert list(sweep.spaces[0].distributions) == ["noise.input.sigma", "training.batch_size"]
    assert [teacher.training.batch_size for teacher in teachers(sweep)] == [25, 25, 50, 50]
    for student in students(sweep):
        assert student.teacher is not None
        assert student.training.batch_size == student.teacher.training.batch_size


def test_a_teachers_own_teacher_takes_data_and_training_too() -> None:
    grand = {"model": {"name": "mlp", "hidden": [32]}}
    sweep = sweep_of(
        {"experiment.teacher.teacher": grand, "experiment.teacher.method": {"name": "kd"}}
    )
    teacher = teachers(sweep)[0]
    assert teacher.teacher is not None
    assert (teacher.teacher.data, teacher.teacher.training) == (teacher.data, teacher.training)
    assert teacher.teacher.noise == Experiment.model_fields["noise"].default


def test_a_case_overrides_the_experiment_and_is_crossed_with_the_rest_of_the_space() -> None:
    sweep = sweep_of(
        {
            "cases": [
                {"name": "cold", "set": {"method.temperature": 1}},
                {
                    "name": "alone",
                    "set": {"teacher": None, "experiment.method": {"name": "cross_entropy"}},
                },
                {"name": "wide", "set": {"model.hidden": {"grid": [[8], [64]]}}},
            ]
        }
    )
    points = list(sweep.grid())
    assert [point.number for point in points] == list(range(8))
    assert [point.space.case for point in points] == ["cold"] * 2 + ["alone"] * 2 + ["wide"] * 4
    assert [point.values["noise.input.sigma"] for point in points[:4]] == [0, 0.2, 0, 0.2]
    described = [sweep.student(p, 0, next(iter(sweep.candidates(p)), None)) for p in points[::2]]
    assert [each.method.name for each in described] == ["kd", "cross_entropy", "kd", "kd"]
    assert [canonical(each)["method"] for each in described[::2]] == [
        {"name": "kd", "temperature": 1.0},
        {"name": "kd"},
    ]
    assert sweep.candidates(points[2]) == []
    assert [sweep.student(p, 0, sweep.candidates(p)[0]).model.hidden for p in points[4:]] == [
        (8,),
        (8,),
        (64,),
        (64,),
    ]


def test_a_mistake_in_any_case_is_named_with_the_case() -> None:
    cases = [{"name": "a"}, {"name": "b", "set": {"method.alpha": {"grid": [0.5, 7]}}}]
    with pytest.raises(
        InputError, match=r"^cases\[1\] \(b\): experiment.method.alpha: .* \(at method.alpha = 7\)$"
    ):
        sweep_of({"cases": cases})


def test_a_case_may_change_how_the_teacher_is_chosen() -> None:
    sweep = sweep_of(
        {
            "cases": [
                {"name": "one", "set": {"teacher.seeds": 1}},
                {"name": "four", "set": {"teacher.seeds": 4}},
            ]
        }
    )
    points = list(sweep.grid())
    assert [len(sweep.candidates(point)) for point in points] == [1, 1, 4, 4]
    assert [teacher.seed for teacher in teachers(sweep)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("seeds=3", lambda sweep: sweep.file.seeds == 3),
        ("name=other", lambda sweep: sweep.name == "other"),
        ("search={sampler: grid, seed: 3}", lambda sweep: sweep.file.search.seed == 3),
        ("evaluate.roles=[student]", lambda sweep: sweep.suite("teacher") == ()),
        ("training.epochs=9", lambda sweep: students(sweep)[0].training.epochs == 9),
        ("experiment.training.epochs=9", lambda sweep: students(sweep)[0].training.epochs == 9),
        ("method.alpha=1/4", lambda sweep: students(sweep)[0].method.alpha == 0.25),
        ("noise.input.sigma={grid: [0, 0.1, 0.2]}", lambda sweep: len(list(sweep.grid())) == 3),
        ("noise.input=", lambda sweep: students(sweep)[0].noise.input is None),
        ("teacher.seeds=5", lambda sweep: len(teachers(sweep)) == 5),
    ],
)
def test_set_reaches_the_top_of_the_file_and_below_the_experiment(override: str, read: Any) -> None:
    before = copy.deepcopy(TINY)
    assert read(sweep_from(TINY, set=[override]))
    assert before == TINY


def test_of_two_overrides_the_last_wins() -> None:
    assert sweep_from(TINY, set=["seeds=3", "seeds=4"]).file.seeds == 4


def test_candidates_are_the_teacher_with_seeds_from_0() -> None:
    sweep = sweep_of({"experiment.teacher.seeds": 3})
    (first, *others), point = teachers(sweep), next(sweep.grid())
    assert [teacher.seed for teacher in sweep.candidates(point)] == [0, 1, 2]
    assert sweep.candidates(point) == [first, *others]
    assert len({teacher.trial_id for teacher in [first, *others]}) == 3


def test_without_a_word_one_teacher_is_trained() -> None:
    tree = changed(TINY, {})
    del tree["experiment"]["teacher"]["seeds"]
    assert [teacher.seed for teacher in teachers(sweep_from(tree))] == [0]


def test_select_each_trains_as_many_teachers_as_there_are_students() -> None:
    tree = changed(TINY, {"seeds": 3, "experiment.teacher.select": "each"})
    del tree["experiment"]["teacher"]["seeds"]
    sweep = sweep_from(tree)
    assert [teacher.seed for teacher in teachers(sweep)] == [0, 1, 2]
    assert sweep.choice(next(sweep.grid())).select == "each"


def test_a_teacher_is_chosen_by_validation_unless_the_file_says_otherwise() -> None:
    assert (
        sweep_of({}).choice(next(sweep_of({}).grid())).select
        == TeacherChoice().select
        == "best_validation"
    )
    by_test = sweep_of({"experiment.teacher.select": "best_test"})
    assert by_test.choice(next(by_test.grid())).select == "best_test"


def test_a_way_to_choose_a_teacher_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InputError,
        match=r"^experiment\.teacher\.select: .*'best_validation', 'best_test' or 'each'",
    ):
        sweep_of({"experiment.teacher.select": "best_train"})


SWEPT_NOISE = {
    "experiment.supervision.noise": [
        {"name": "signal_dependent", "sigma": {"grid": [0, 0.3]}},
        {"name": "swap", "probability": 0.1, "threshold": 0.2},
    ]
}


def changes_of_logits(sweep: Sweep) -> list[tuple[Any, ...]]:
    """Of the first student of every point."""
    return [student.supervision.noise for student in students(sweep)[:: sweep.file.seeds]]


def test_a_leaf_inside_a_list_is_swept_under_its_number() -> None:
    sweep = sweep_of(SWEPT_NOISE)
    assert list(sweep.spaces[0].distributions) == ["noise.input.sigma", "supervision.noise.0.sigma"]
    assert [signal.sigma for signal, _ in changes_of_logits(sweep)] == [0, 0.3, 0, 0.3]
    assert {swap.name for _, swap in changes_of_logits(sweep)} == {"swap"}


def test_a_leaf_inside_a_list_may_be_continuous() -> None:
    sweep = sweep_of(
        {"search": {"sampler": "random", "points": 2}, "experiment.noise.input.sigma": 0.1},
        {
            "experiment.supervision.noise": [
                {"name": "signal_dependent", "sigma": {"uniform": [0, 0.5]}}
            ]
        },
    )
    assert list(sweep.spaces[0].distributions) == ["supervision.noise.0.sigma"]
    point = Point(0, sweep.spaces[0], {"supervision.noise.0.sigma": 0.37})
    (change,) = sweep.student(point, 0, sweep.candidates(point)[0]).supervision.noise
    assert canonical(change) == {"name": "signal_dependent", "sigma": 0.37}


def test_a_leaf_inside_a_list_is_put_at_its_edges() -> None:
    noise = [{"name": "signal_dependent", "sigma": {"grid": [0.1, -1]}}]
    with pytest.raises(InputError, match=r"sigma: .* \(at supervision\.noise\.0\.sigma = -1\)$"):
        sweep_of({"experiment.supervision.noise": noise})


@pytest.mark.parametrize(
    ("override", "sigmas"),
    [
        ("supervision.noise.0.sigma={grid: [0.1, 0.2, 0.4]}", [0.1, 0.2, 0.4] * 2),
        ("supervision.noise.0.sigma=0.2", [0.2] * 2),
        ("experiment.supervision.noise.0.sigma=1/4", [0.25] * 2),
    ],
)
def test_set_reaches_into_a_list(override: str, sigmas: list[float]) -> None:
    found = changes_of_logits(sweep_from(changed(TINY, SWEPT_NOISE), set=[override]))
    assert [signal.sigma for signal, _ in found] == sigmas
    assert {swap.name for _, swap in found} == {"swap"}


def test_set_beyond_the_end_of_a_list_is_refused() -> None:
    with pytest.raises(InputError, match="'2' is no item of a list of 2"):
        sweep_from(changed(TINY, SWEPT_NOISE), set=["supervision.noise.2.sigma=0.1"])


def test_a_case_reaches_into_a_list() -> None:
    cases = [
        {"name": "loud", "set": {"supervision.noise.0.sigma": 0.5}},
        {"name": "swept", "set": {"supervision.noise.1.threshold": {"grid": [0.3, 0.4]}}},
    ]
    found = changes_of_logits(sweep_of({"experiment.noise": {}}, SWEPT_NOISE, {"cases": cases}))
    assert [(signal.sigma, swap.threshold) for signal, swap in found] == [
        (0.5, 0.2),
        (0.0, 0.3),
        (0.0, 0.4),
        (0.3, 0.3),
        (0.3, 0.4),
    ]


def test_the_identity_of_a_student_depends_on_its_teachers_seed() -> None:
    sweep = sweep_of({})
    point = next(sweep.grid())
    ids = [sweep.student(point, 0, teacher).trial_id for teacher in sweep.candidates(point)]
    assert len(set(ids)) == 2


def test_equal_experiments_of_two_sweeps_are_the_same_trials() -> None:
    other = changed(
        TINY,
        {
            "name": "other",
            "seeds": 1,
            "resources": {"student": {"cpu": 2}},
            "evaluate": {},
            "experiment.noise.input.sigma": 0.2,
            "experiment.method": {"name": "kd", "alpha": 0.9, "temperature": 4},
            "experiment.training": {"batch_size": 10, "epochs": 2, "optimizer": {"name": "sgd"}},
        },
    )
    assert {s.trial_id for s in students(sweep_from(other))} < {
        s.trial_id for s in students(sweep_of({}))
    }
    assert teachers(sweep_from(other)) == teachers(sweep_of({}))


def test_a_teacher_that_several_points_share_is_there_once() -> None:
    assert len(teachers(sweep_of({"cases": [{"name": "a"}, {"name": "b"}]}))) == 2
    assert teachers(sweep_of(ALONE)) == []


def test_data_of_a_sweep_are_those_of_students_and_teachers_each_once() -> None:
    assert [canonical(data) for data in data_of(sweep_of({}))] == [
        {"name": "digits", "examples": 200}
    ]
    sweep = sweep_of(
        {
            "experiment.teacher.data": {"examples": 300},
            "experiment.data.examples": {"grid": [200, 250]},
        }
    )
    assert sorted(data.examples for data in data_of(sweep)) == [200, 250, 300]


def test_suites_go_to_the_roles_that_are_named() -> None:
    sweep = sweep_of({"evaluate.roles": ["student"]})
    assert len(sweep.suite("student")) == 2
    assert sweep.suite("teacher") == ()


@pytest.mark.parametrize("whole", [{"grid": [{}]}, {"same": "x"}])
def test_an_experiment_that_is_a_distribution_is_refused(whole: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="experiment"):
        sweep_from({**TINY, "experiment": whole})


@pytest.mark.parametrize("teacher", ["wide_resnet", 3, ["mlp"], False])
def test_a_teacher_that_is_no_mapping_is_refused(teacher: Any) -> None:
    with pytest.raises(InputError, match="teacher"):
        sweep_of({"experiment.teacher": teacher})


@pytest.mark.parametrize("key", ["seeds", "select"])
def test_how_many_teachers_there_are_cannot_be_swept(key: str) -> None:
    with pytest.raises(InputError, match=f"teacher.{key}"):
        sweep_of({f"experiment.teacher.{key}": {"grid": [1, 3]}})


def test_a_same_of_a_mapping_around_it_is_refused() -> None:
    with pytest.raises(InputError, match="circle"):
        sweep_of({"experiment.training.optimizer": {"same": "training"}})


def test_the_quickstart_is_what_its_header_says() -> None:
    sweep = load_sweep(SWEEPS / "quickstart.yaml")
    assert (len(list(sweep.grid())), len(students(sweep)), len(teachers(sweep))) == (6, 12, 3)
    assert {s.data.name for s in students(sweep)} == {"digits"}


def test_soft_randomization_is_the_papers_experiment() -> None:
    sweep = load_sweep(SWEEPS / "noisy_collaboration" / "soft_randomization.yaml")
    points, described, teaching = list(sweep.grid()), students(sweep), teachers(sweep)
    assert (len(points), len(described), len(teaching)) == (14, 70, 5)
    sigmas = [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [point.values["noise.input.sigma"] for point in points] == sigmas * 2
    assert [point.space.case for point in points] == ["soft_randomization"] * 7 + ["no_teacher"] * 7
    for each in described + teaching:
        training = canonical(each.training)
        assert training["epochs"] == 200
        assert each.training.batch_size == 128
        assert training["schedule"] == {
            "name": "multi_step",
            "milestones": [60, 120, 160],
            "gamma": 0.2,
        }
        assert (each.training.optimizer.name, each.training.optimizer.learning_rate) == ("sgd", 0.1)
        assert (each.data.name, each.data.normalization) == ("cifar10", "none")
    assert {(s.model.name, s.model.depth, s.model.width) for s in described} == {
        ("wide_resnet", 16, 2)
    }
    assert {(t.model.name, t.model.depth, t.model.width) for t in teaching} == {
        ("wide_resnet", 40, 2)
    }
    assert {
        canonical(s).get("method", {}).get("name", "cross_entropy") for s in described[:35]
    } == {"kd"}
    assert {s.method.name for s in described[35:]} == {"cross_entropy"}
    assert all(s.method.alpha == 0.9 and s.method.temperature == 4 for s in described[:35])
    assert all(s.teacher is None for s in described[35:])
    assert {s.seed for s in described} == set(range(5))


def test_a_point_that_is_not_of_the_grid_has_a_tree_as_well() -> None:
    sweep = sweep_of(
        {
            "search": {"sampler": "random", "points": 2},
            "experiment.noise.input.sigma": {"uniform": [0, 1]},
        }
    )
    student = sweep.student(
        point := Point(7, sweep.spaces[0], {"noise.input.sigma": 0.3}),
        1,
        sweep.candidates(point)[0],
    )
    assert student.noise.input is not None
    assert (student.noise.input.sigma, student.seed) == (0.3, 1)
