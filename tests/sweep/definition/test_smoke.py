"""``--smoke``: every shipped sweep becomes a small one of digits that is valid and needs nothing
that this machine lacks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kdray.core import InputError, parse
from kdray.data import AnyData, Digits
from kdray.data.digits import FEWEST_EXAMPLES
from kdray.sweep.definition.read import load_sweep, sweep_from
from kdray.sweep.definition.smoke import digits_like, models, shrink, smallest
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep, data_of
from tests.shipped import SWEEPS
from tests.sweep.fakes import TINY, changed

MOST_TRIALS = 60
LESS = {
    "data.name",
    "epochs",
    "hint_epochs",
    "classifier_epochs",
    "batch_size",
    "steps",
    "restarts",
    "samples",
    "every",
    "omit_classes",
}
"""Leaves that are limited, and so lose values or are no longer swept."""
LESS |= {"model", *(f"model.{field}" for kind in models().values() for field in kind.small)}
ARRAYS = {"name": "arrays", "path": "x.npz", "classes": 4, "image_shape": [3, 20, 20]}
WRN = {"name": "wide_resnet", "depth": 16, "width": 4}
SMALL_WRN = {"name": "wide_resnet", "depth": 10, "width": 1}


def trials(sweep: Sweep) -> int:
    search = sweep.file.search
    points = search.count or len(list(sweep.grid()))
    return points * sweep.file.seeds + len(chain(sweep))


def test_there_are_sweeps_to_shrink() -> None:
    assert "quickstart.yaml" in [path.name for path in SWEEPS]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_shipped_sweep_becomes_small_and_stays_what_it_is(path: Path) -> None:
    full, small = load_sweep(path), load_sweep(path, smoke=True)
    assert small.name == full.name
    assert small.file.seeds == min(full.file.seeds, 2)
    assert max(choice.seeds for choice in small.choices.values()) <= 2
    assert trials(small) <= min(MOST_TRIALS, trials(full))
    assert [space.case for space in small.spaces] == [space.case for space in full.spaces]
    assert {data.shape for data in data_of(small)} == {data.shape for data in data_of(full)}
    for data in data_of(small):
        assert isinstance(data, Digits)
        assert data.examples == FEWEST_EXAMPLES
    for role in ("teacher", "student"):
        assert getattr(small.file.resources, role).gpu == 0
    assert [e.label for e in small.file.evaluate.suite] == [
        e.label for e in full.file.evaluate.suite
    ]
    assert all(evaluation.examples == 32 for evaluation in small.file.evaluate.suite)
    for point in small.grid():
        for described in (
            *small.candidates(point),
            small.student(point, 0, next(iter(small.candidates(point)), None)),
        ):
            assert described.training.epochs <= 2
            assert described.training.batch_size <= 16


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_of_every_list_the_ends_are_left(path: Path) -> None:
    full, small = load_sweep(path), load_sweep(path, smoke=True)
    for large, little in zip(full.spaces, small.spaces, strict=True):
        for name, leaf in large.distributions.items():
            if leaf.kind in ("grid", "choice") and not any(
                f".{name}".endswith(f".{less}") for less in LESS
            ):
                assert little.distributions[name].arguments == tuple(
                    dict.fromkeys((leaf.edges[0], leaf.edges[-1]))
                )


def test_shrinking_leaves_the_file_as_it_was_and_is_done_once() -> None:
    before = copy.deepcopy(TINY)
    assert shrink(shrink(TINY)) == shrink(TINY)
    assert before == TINY


@pytest.mark.parametrize(
    ("data", "like"),
    [
        ({"name": "mnist"}, {"resize": 28, "channels": 1}),
        (
            {"name": "cifar10", "augment": "crop_flip", "validation": 5000},
            {"resize": 32, "channels": 3, "augment": "crop_flip"},
        ),
        ({"name": "usps", "resize": 8, "channels": 3}, {"resize": 8, "channels": 3}),
        (
            {"name": "cifar10", "normalization": "none"},
            {"resize": 32, "channels": 3, "normalization": "none"},
        ),
        ({"name": "usps", "pad": 6, "resize": None}, {"resize": 16, "channels": 1, "pad": 6}),
        (
            {"name": "mnist", "omit_classes": [3, 7]},
            {"resize": 28, "channels": 1, "omit_classes": [3, 7]},
        ),
        (
            {"name": "cifar100", "omit_classes": [9, 10, 99]},
            {"resize": 32, "channels": 3, "omit_classes": [9]},
        ),
        (
            {"name": "cifar100", "omit_classes": list(range(50))},
            {"resize": 32, "channels": 3, "omit_classes": list(range(9))},
        ),
        (ARRAYS, {"resize": 20, "channels": 3}),
        ({**ARRAYS, "channels": 1, "pad": 2}, {"resize": 20, "channels": 1, "pad": 2}),
        (
            {
                "name": "image_folder",
                "path": "photographs",
                "classes": 40,
                "size": 64,
                "augment": "flip",
            },
            {"resize": 64, "channels": 3, "augment": "flip"},
        ),
    ],
)
def test_digits_take_the_shape_of_the_data_that_they_stand_for(
    data: dict[str, Any], like: dict[str, Any]
) -> None:
    small = digits_like(data)
    assert small == {"name": "digits", "examples": FEWEST_EXAMPLES, **like}
    described: Any = parse(AnyData, data)  # type: ignore[arg-type]  # a union of types
    assert parse(AnyData, small).shape == described.shape  # type: ignore[arg-type]


def test_a_swept_number_of_epochs_is_two_and_points_of_a_search_are_few() -> None:
    tree = changed(
        TINY,
        {
            "experiment.training.epochs": {"grid": [100, 200, 300]},
            "search": {"sampler": "tpe", "points": 40, "startup": 10},
            "experiment.noise.input.sigma": {"uniform": [0, 1]},
        },
    )
    small = sweep_from(tree, smoke=True)
    assert "training.epochs" not in small.spaces[0].distributions
    assert (small.file.search.points, small.file.search.startup) == (4, 2)


def test_the_case_of_other_data_is_digits_too() -> None:
    tree = changed(
        TINY,
        {
            "experiment.data": {"name": "mnist"},
            "cases": [
                {"name": "a"},
                {"name": "b", "set": {"data": {"name": "fashion_mnist", "resize": 14}}},
            ],
        },
    )
    assert [(data.name, data.shape) for data in data_of(sweep_from(tree, smoke=True))] == [
        ("digits", (1, 28, 28)),
        ("digits", (1, 14, 14)),
    ]


def test_what_is_no_sweep_is_left_to_validation() -> None:
    for tree in (
        {},
        {"experiment": 3},
        {"cases": 3},
        {"evaluate": []},
        {"evaluate": {"suite": 3}},
        {"cases": [3]},
    ):
        assert shrink(tree) == tree


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"experiment.data": {"name": {"grid": ["mnist", "fashion_mnist"]}}},
            id="swept name: TypeError",
        ),
        pytest.param(
            {"experiment.data": {"grid": [{"name": "mnist"}, {"name": "fashion_mnist"}]}},
            id="list of data",
        ),
        pytest.param(
            {"cases": [{"name": "a", "set": {"data.name": "fashion_mnist"}}]},
            id="data.name in a case",
        ),
        pytest.param(
            {
                "cases": [
                    {
                        "name": "a",
                        "set": {
                            "teacher": {"model": {"name": "mlp"}, "data": {"name": "fashion_mnist"}}
                        },
                    }
                ]
            },
            id="data of a teacher in a case",
        ),
    ],
)
def test_a_smoke_test_needs_no_data_however_they_are_named(changes: dict[str, Any]) -> None:
    sweep = sweep_from(
        changed(changed(TINY, {"experiment.data": {"name": "mnist"}}), changes), smoke=True
    )
    assert {data.name for data in data_of(sweep)} == {"digits"}


def test_a_swept_number_of_epochs_in_a_case_is_two() -> None:
    case = {"name": "long", "set": {"training.epochs": {"grid": [200, 300]}}}
    small = sweep_from(changed(TINY, {"cases": [case]}), smoke=True)
    assert [small.candidates(point)[0].training.epochs for point in small.grid()] == [2, 2]


def test_a_countable_range_becomes_its_ends() -> None:
    assert shrink({"experiment": {"a": {"quniform": [0, 1, 0.01]}, "b": {"randint": [1, 9]}}})[
        "experiment"
    ] == {"a": {"choice": [0.0, 1.0]}, "b": {"choice": [1, 8]}}


def test_images_that_are_not_square_become_square() -> None:
    assert digits_like({**ARRAYS, "image_shape": [1, 12, 20]})["resize"] == 20


@pytest.mark.parametrize(
    "data", [{"name": "mnist", "sise": 3}, {"name": "imagenets"}, {"name": "arrays"}, {}, 3, None]
)
def test_data_that_are_described_wrongly_are_left_to_validation(data: Any) -> None:
    assert digits_like(data) == data


TEACHERS_DATA: list[Any] = [
    pytest.param({"name": "usps", "pad": 6}, {"name": "mnist"}, id="another data set"),
    pytest.param(
        {"name": "mnist", "augment": "flip"}, {"name": "usps", "pad": 6}, id="another, padded"
    ),
    pytest.param(
        {"name": "usps", "pad": 2, "augment": "flip"},
        {"omit_classes": [1]},
        id="what it does not say",
    ),
    pytest.param(
        {"name": "usps", "pad": 2}, {"name": "usps", "normalization": "gcn"}, id="the same data set"
    ),
    pytest.param(
        {"name": "usps", "pad": 2, "validation": 9}, {"validation": 50}, id="another split"
    ),
    pytest.param(
        {**ARRAYS, "pad": 3}, {"name": "arrays", "omit_classes": [0]}, id="the same arrays"
    ),
    pytest.param(
        {"name": "mnist"}, {"name": {"same": "data.name"}, "augment": "flip"}, id="the same name"
    ),
    pytest.param({"name": "mnist", "augment": "flip"}, {"same": "data"}, id="the same everything"),
]


@pytest.mark.parametrize(("students", "teachers"), TEACHERS_DATA)
@pytest.mark.parametrize("case", [False, True])
def test_a_teacher_inherits_what_it_did(
    students: dict[str, Any], teachers: dict[str, Any], case: bool
) -> None:
    tree = changed(TINY, {"experiment.data": students, "experiment.teacher.data": teachers})
    if case:
        tree = changed(
            tree,
            {
                "experiment.data": {"name": "cifar10"},
                "cases": [{"name": "a", "set": {"data": students}}],
            },
        )
    full, small = sweep_from(tree), sweep_from(tree, smoke=True)
    for large, little in zip(full.grid(), small.grid(), strict=True):
        before, after = full.candidates(large)[0].data, small.candidates(little)[0].data
        assert isinstance(after, Digits)
        assert after.shape == before.shape
        for field in ("pad", "omit_classes", "augment", "normalization"):
            assert getattr(after, field) == getattr(before, field), field


@pytest.mark.parametrize(
    ("model", "small"),
    [
        (WRN, SMALL_WRN),
        (
            {"name": "wide_resnet", "dropout": {"grid": [0, 0.3]}},
            {**SMALL_WRN, "dropout": {"grid": [0, 0.3]}},
        ),
        (
            {"name": "wide_resnet", "depth": {"grid": [16, 40]}, "width": {"randint": [1, 9]}},
            SMALL_WRN,
        ),
        (
            {"name": "mlp", "hidden": [1200, 1200]},
            {"name": "mlp", "hidden": [1200, 1200], **models()["mlp"].small},
        ),
        (
            {"name": {"grid": ["wide_resnet", "wide_resnet"]}, "depth": 40},
            {**SMALL_WRN, "name": {"grid": ["wide_resnet", "wide_resnet"]}},
        ),
        ({"name": "unknown", "depth": 40}, {"name": "unknown", "depth": 40}),
        ({"depth": 40}, {"depth": 40}),
        ({"same": "teacher.model"}, {"same": "teacher.model"}),
        (3, 3),
    ],
)
def test_a_model_becomes_the_smallest_of_its_family(model: Any, small: Any) -> None:
    assert smallest(model) == small


def test_of_several_families_what_is_smallest_in_all() -> None:
    small = smallest({"name": {"grid": ["wide_resnet", "mlp"]}, "depth": 40})
    shared = models()["mlp"].small.items() & SMALL_WRN.items()
    assert small == {"name": {"grid": ["wide_resnet", "mlp"]}, "depth": 40, **dict(shared)}


MODELS_ANYWHERE: list[Any] = [
    pytest.param({"experiment.model": WRN}, id="student"),
    pytest.param({"experiment.teacher.model": WRN}, id="teacher"),
    pytest.param(
        {
            "experiment.teacher": {
                "model": {"name": "mlp"},
                "teacher": {"model": WRN},
                "method": {"name": "kd"},
            }
        },
        id="teacher's teacher",
    ),
    pytest.param({"experiment.model": {"grid": [WRN, {**WRN, "depth": 40}]}}, id="whole models"),
    pytest.param({"experiment.model": {**WRN, "depth": {"grid": [16, 22, 40]}}}, id="swept depth"),
    pytest.param({"cases": [{"name": "a", "set": {"model": WRN}}]}, id="case's model"),
    pytest.param(
        {"cases": [{"name": "a", "set": {"experiment.model": WRN}}]}, id="case's model in full"
    ),
    pytest.param(
        {"experiment.model": WRN, "cases": [{"name": "a", "set": {"model.depth": 40}}]},
        id="case's depth",
    ),
    pytest.param(
        {
            "experiment.model": WRN,
            "cases": [{"name": "a", "set": {"model.depth": {"grid": [16, 40]}}}],
        },
        id="case's swept depth",
    ),
    pytest.param(
        {"cases": [{"name": "a", "set": {"teacher.model": WRN}}]}, id="case's teacher's model"
    ),
    pytest.param(
        {
            "experiment.teacher.model": WRN,
            "cases": [{"name": "a", "set": {"teacher.model.width": 10}}],
        },
        id="case's teacher's width",
    ),
    pytest.param(
        {"cases": [{"name": "a", "set": {"teacher": {"model": WRN}}}]}, id="case's teacher"
    ),
    pytest.param(
        {
            "experiment.model": {"name": "wide_resnet"},
            "cases": [{"name": "a", "set": {"model.name": "mlp"}}],
        },
        id="case's name",
    ),
    pytest.param(
        {
            "experiment.teacher.model": WRN,
            "experiment.model": {"name": "wide_resnet", "depth": {"same": "teacher.model.depth"}},
        },
        id="same depth",
    ),
    pytest.param(
        {
            "experiment.model": {"name": "wide_resnet", "width": {"choice": [2, 4]}},
            "experiment.noise.input.sigma": 0.1,
            "search": {"sampler": "tpe", "points": 9},
        },
        id="all that is searched",
    ),
    pytest.param(
        {
            "experiment.noise.input.sigma": 0.1,
            "search": {"sampler": "tpe", "points": 9},
            "cases": [{"name": "a", "set": {"model": {**WRN, "depth": {"choice": [16, 40]}}}}],
        },
        id="all of a case",
    ),
]


@pytest.mark.parametrize("changes", MODELS_ANYWHERE)
def test_a_model_is_small_wherever_it_stands(changes: dict[str, Any]) -> None:
    tree = changed(TINY, changes)
    sweep_from(tree)
    small = sweep_from(tree, smoke=True)
    assert shrink(shrink(tree)) == shrink(tree)
    for point in small.grid():
        teacher = next(iter(small.candidates(point)))
        student = small.student(point, 0, teacher)
        for described in (student, teacher, *([teacher.teacher] if teacher.teacher else [])):
            for field, least in models()[described.model.name].small.items():
                assert getattr(described.model, field) == least


def test_a_search_for_what_a_smoke_test_fixes_has_one_point() -> None:
    tree = changed(
        TINY,
        {
            "experiment.noise.input.sigma": 0.1,
            "experiment.training.epochs": {"choice": [50, 100]},
            "search": {"sampler": "tpe", "points": 9},
        },
    )
    assert len(list(sweep_from(tree, smoke=True).grid())) == 1


def test_nothing_to_search_is_still_told() -> None:
    tree = changed(
        TINY, {"experiment.noise.input.sigma": 0.1, "search": {"sampler": "tpe", "points": 9}}
    )
    with pytest.raises(InputError, match="nothing to search"):
        sweep_from(tree, smoke=True)


@pytest.mark.parametrize(
    ("field", "value", "small"),
    [
        ("samples", 512, 4),
        ("samples", 1, 1),
        ("samples", {"grid": [1, 8, 512]}, {"grid": [1, 4]}),
        ("samples", {"grid": [64, 512]}, 4),
        ("samples", [1, 8, 512], [1, 4]),
        ("hint_epochs", 500, 2),
        ("classifier_epochs", {"grid": [1, 500]}, 2),
        ("every", 10, 1),
        ("every", True, True),
        ("steps", {"same": "a.steps"}, {"same": "a.steps"}),
    ],
)
def test_what_costs_time_is_limited(field: str, value: Any, small: Any) -> None:
    assert shrink({"experiment": {"some": {field: value}}}) == {
        "experiment": {"some": {field: small}}
    }


def test_values_of_a_list_are_shrunk_too() -> None:
    swept = {
        "method": {
            "choice": [
                {"name": "a", "hint_epochs": 9},
                {"name": "b"},
                {"name": "a", "hint_epochs": 5},
            ]
        }
    }
    assert shrink({"experiment": swept})["experiment"] == {
        "method": {"choice": [{"name": "a", "hint_epochs": 2}]}
    }


def test_other_images_become_digits_and_official_corruptions_generated_ones() -> None:
    suite = [
        {"name": "corruptions"},
        {"name": "official_corruptions", "kinds": ["fog"]},
        {"name": "out_of_distribution", "data": {"name": "usps", "pad": 6}},
    ]
    small = sweep_from(
        changed(TINY, {"evaluate.suite": suite, "experiment.data": {"name": "mnist"}}), smoke=True
    )
    generated, official, other = small.suite("student")
    assert (official.name, official.label, official.seed) == (
        "corruptions",
        "official_corruptions",
        generated.seed + 1,
    )
    assert (other.data.name, other.data.examples, other.data.pad) == ("digits", FEWEST_EXAMPLES, 6)
    assert {evaluation.examples for evaluation in small.suite("student")} == {32}


def test_what_a_small_sweep_cannot_do_is_left_out_of_its_search() -> None:
    alpha, sigma = {"quniform": [0.2, 1, 0.2]}, {"quniform": [0, 0.4, 0.1]}
    space = {"experiment.noise.input.sigma": sigma, "experiment.method.alpha": alpha}
    best = {"points": 3, "suite": [{"label": "dear", "name": "pgd"}]}
    for search in (
        {"sampler": "tpe", "points": 9, "racing": {}, "first": [{"noise.input.sigma": 0.2}]},
        {"sampler": "cmaes", "points": 9, "population": 5},
    ):
        tree = changed(
            TINY,
            {
                **space,
                "search": search,
                "seeds": 5,
                "evaluate.best": best,
                "callbacks": [{"name": "wandb"}],
            },
        )
        sweep_from(tree)
        small = sweep_from(tree, smoke=True)
        assert (small.file.search.racing, small.file.search.first, small.file.callbacks) == (
            None,
            (),
            (),
        )
        assert small.finals[0].examples == 32
