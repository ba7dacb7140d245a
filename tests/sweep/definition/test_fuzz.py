"""Whatever is written in a sweep file: it is read, or refused with one line. Never anything
else."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kdray.cli import main
from kdray.core import InputError
from kdray.core.yaml import parse_text
from kdray.results import Store
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.tree import children, put
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import source_of
from tests.shipped import SWEEPS
from tests.sweep.fakes import TINY, changed

GOOD = changed(
    TINY,
    {
        "search": {"sampler": "random", "points": 3},
        "objective": {"metric": "clean.accuracy", "mode": "max"},
        "resources": {"teacher": {"cpu": 1}, "student": {"gpu": 0.5}},
        "cases": [{"name": "a"}, {"name": "b", "set": {"method.alpha": {"uniform": [0, 1]}}}],
        "experiment.training.schedule": {"name": "multi_step", "milestones": [1]},
        "experiment.model.dropout": {"same": "noise.input.sigma"},
    },
)


EVERYTHING = [
    GOOD,
    changed(
        TINY,
        {
            "seeds": 5,
            "search": {"sampler": "grid", "racing": {"p": 0.2}},
            "objective": {
                "metric": "clean.accuracy",
                "mode": "max",
                "over_seeds": "mean_minus_sd",
                "deviations": 2,
            },
            "constraints": ["parameters <= 5000"],
            "resources": {
                "teacher": {"memory": 0.5},
                "student": {"gpu": "auto", "hours": 2},
                "runtime_env": {"env_vars": {"A": "b"}},
            },
            "budget": {"hours": 8, "gpu_hours": 2},
            "callbacks": [
                {"name": "tensorboard"},
                {"name": "wandb", "offline": True},
                {"name": "mlflow"},
            ],
            "evaluate.best": {
                "points": 2,
                "suite": [{"label": "pgd5", "name": "pgd", "epsilon": 0.1, "steps": 5}],
            },
            "cases": [
                {"name": "a"},
                {
                    "name": "b",
                    "set": {"method.alpha": {"grid": [0, 0.5]}, "teacher.model.hidden": [8, 8]},
                },
            ],
            "experiment.supervision": {
                "dropout": "active",
                "noise": [{"name": "signal_dependent", "sigma": 0.1}],
            },
            "experiment.teacher.model.dropout": {"grid": [0.1, 0.2]},
        },
    ),
    changed(
        TINY,
        {
            "search": {
                "sampler": "tpe",
                "points": 6,
                "startup": 2,
                "multivariate": True,
                "group": True,
                "first": [
                    {"noise.input.sigma": 0.2, "method.alpha": 0.5, "case": "a"},
                    {"case": "b"},
                ],
                "early_stopping": {
                    "pruner": "median",
                    "metric": "val_accuracy",
                    "grace": 0.3,
                    "startup": 2,
                },
            },
            "objective": [
                {"metric": "clean.accuracy"},
                {"metric": "parameters", "mode": "min", "over_seeds": "worst"},
            ],
            "constraints": ["val_accuracy >= 0.5", "macs <= 1e9"],
            "resources": {"student": {"cpu": 2, "gpu": 0.25}},
            "cases": [
                {"name": "a"},
                {"name": "b", "set": {"method.temperature": {"loguniform": [1, 9]}}},
            ],
            "experiment.method": {"name": "kd", "alpha": {"uniform": [0, 1]}},
            "experiment.model.hidden": {"choice": [[8], [8, 8]]},
            "experiment.training.batch_size": {"randint": [5, 20]},
        },
    ),
    changed(
        TINY,
        {
            "search": {
                "sampler": "random",
                "points": 5,
                "first": [{"method": "kd 1"}, {"method.temperature": 4}],
            },
            "experiment.method": {
                "choice": [
                    {
                        "name": "kd",
                        "temperature": {"choice": [1, 4]},
                        "alpha": {"quniform": [0, 1, 0.25]},
                    },
                    {
                        "name": "margin",
                        "temperature": {"lograndint": [1, 8]},
                        "margin": {"choice": [0.1, 0.2]},
                    },
                    {
                        "name": "kd",
                        "alpha": {"uniform": [0, 1]},
                        "temperature": {"same": "noise.input.sigma"},
                    },
                ]
            },
            "experiment.noise.labels": {
                "grid": [None, {"name": "uniform", "rate": {"choice": [0.1, 0.2]}}]
            },
            "experiment.noise.input.sigma": {"loguniform": [0.1, 1]},
        },
    ),
    changed(
        TINY,
        {
            "seeds": 3,
            "search": {
                "sampler": "cmaes",
                "points": 9,
                "startup": 2,
                "population": 5,
                "racing": {"p": 0.3},
                "early_stopping": {
                    "pruner": "asha",
                    "metric": "c.accuracy",
                    "reduction": 2,
                    "grace": 0.05,
                },
            },
            "experiment.training.monitor": {
                "every": 1,
                "suite": [{"name": "clean", "label": "c", "split": "val"}],
            },
            "experiment.noise.input.sigma": {"uniform": [0, 1]},
            "experiment.method.alpha": {"quniform": [0, 1, 0.1]},
            "experiment.teacher.select": "each",
            "experiment.teacher.seeds": 3,
            "evaluate.suite": [
                {"name": "transfer", "attack": {"name": "fgsm", "epsilon": 0.1}},
                {"name": "clean", "split": "val"},
                {
                    "name": "gaussian_noise",
                    "sigmas": [0.1, 0.2],
                    "smoothing": {"samples": 2, "sigma": 0.1},
                },
            ],
        },
    ),
]
"""Files that together have all that a sweep file may have."""


def branches(node: Any, path: str = "") -> list[str]:
    """The path of every mapping and every leaf."""
    parts = node.items() if isinstance(node, dict) else ()
    below = [branches(part, f"{path}.{key}" if path else key) for key, part in parts]
    return [path] * bool(path) + [each for some in below for each in some]


PATHS = branches({key: part for key, part in GOOD.items() if key != "cases"})
WORDS = st.sampled_from(
    [
        "name",
        "seed",
        "seeds",
        "select",
        "teacher",
        "data",
        "model",
        "grid",
        "choice",
        "uniform",
        "randint",
        "quniform",
        "same",
        "kd",
        "mlp",
        "digits",
        "wide_resnet",
        "x",
        "",
        ".",
        "experiment",
        "training.epochs",
        "noise.input.sigma",
        "\ud800",
        "[b]",
    ]
)
NUMBERS = (
    st.integers(-3, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([10**30, 1e308, -0.0])
)
RANGES = st.one_of(
    st.fixed_dictionaries({"grid": st.lists(NUMBERS | WORDS, max_size=3)}),
    st.fixed_dictionaries({"uniform": st.lists(NUMBERS, max_size=3)}),
    st.fixed_dictionaries({"randint": st.lists(st.integers(-3, 9), max_size=3)}),
    st.fixed_dictionaries({"quniform": st.lists(st.integers(-3, 9), max_size=3)}),
    st.fixed_dictionaries({"same": st.sampled_from(PATHS) | WORDS}),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | RANGES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def read(tree: Any, **options: Any) -> Sweep | None:
    """A sweep, or none if it was refused as it should be."""
    try:
        return sweep_from(tree, **options)
    except InputError as error:
        said = str(error)
    assert said
    assert "\n" not in said, "one line"
    return None


def put_or_leave(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    try:
        return put(tree, path, value)
    except InputError:
        return tree  # into a list only the number of an item leads


def test_what_is_changed_here_was_good() -> None:
    assert read(GOOD) is not None


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=3))
@example({"name": "\ud800"})
def test_a_changed_value_is_read_or_refused_in_one_line(changes: dict[str, Any]) -> None:
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        tree = put_or_leave(tree, path, value)
    read(tree)


@given(st.sampled_from(PATHS), WORDS, VALUES)
def test_an_added_key_is_read_or_refused_in_one_line(path: str, key: str, value: Any) -> None:
    tree = put_or_leave(copy.deepcopy(GOOD), f"{path}.{key}", value)
    read(tree)


@given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3))
def test_what_is_left_out_is_read_or_refused_in_one_line(paths: list[str]) -> None:
    tree = copy.deepcopy(GOOD)
    for path in paths:
        *above, last = path.split(".")
        node: Any = tree
        for key in above:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node.pop(last, None)
    read(tree)


@given(VALUES)
def test_cases_of_anything_are_read_or_refused_in_one_line(value: Any) -> None:
    for cases in (
        value,
        [value],
        [{"name": "a", "set": value}],
        [{"name": "a", "set": {"model": value}}],
    ):
        tree = {**copy.deepcopy(GOOD), "cases": cases}
        read(tree)


@given(VALUES)
def test_anything_at_all_is_refused_in_one_line(tree: Any) -> None:
    assert read(tree) is None


@given(st.sampled_from(PATHS) | WORDS, VALUES)
def test_any_override_is_read_or_refused_in_one_line(path: str, value: Any) -> None:
    read(GOOD, set=[f"{path}={json.dumps(value)}"])


@given(st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=2))
def test_a_changed_value_is_read_or_refused_by_a_smoke_test_too(changes: dict[str, Any]) -> None:
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        tree = put_or_leave(tree, path, value)
    read(tree, smoke=True)


def test_a_very_long_path_is_refused() -> None:
    read(TINY, set=[f"model{'.a' * 3000}=1"])


# Files that have everything.


HUGE = st.sampled_from(
    [
        10**5,
        2**31,
        2**63,
        10**12,
        10**30,
        1e300,
        1.7e308,
        -1e308,
        5e-324,
        1e-17,
        float("inf"),
        float("nan"),
    ]
)
SPECIAL = st.sampled_from(
    [
        "auto",
        "best",
        "case",
        "a",
        "b",
        "kd 1",
        "method",
        "val_accuracy",
        "macs",
        "clean.accuracy",
        "clean.",
        ".accuracy",
        "val_accuracy >= 1e999",
        "parameters <= 5",
        "test_accuracy >= 1",
        "grid",
        "tpe",
        "gp",
        "qmc",
        "cmaes",
        "nsgaii",
        "asha",
        "each",
        "\n",
        "ü",
    ]
)
FAR = st.one_of(
    st.builds(
        lambda kind, ends: {kind: ends},
        st.sampled_from(["uniform", "loguniform", "randint", "lograndint"]),
        st.lists(HUGE | NUMBERS, min_size=2, max_size=2),
    ),
    st.builds(lambda low, high, step: {"quniform": [low, high, step]}, *[HUGE | NUMBERS] * 3),
)
ANYTHING = (
    VALUES
    | HUGE
    | SPECIAL
    | FAR
    | st.dictionaries(st.none() | st.integers(0, 2) | WORDS, VALUES, max_size=2)
)
POINTS = 3


def nodes(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below ``node`` with its path, the items of lists too."""
    for below_it, part in children(node, path):
        yield below_it, part
        yield from nodes(part, below_it)


def without(node: Any, keys: Sequence[str]) -> Any:
    """``node`` without what is at ``keys``."""
    if isinstance(node, list):
        parts = [(str(number), part) for number, part in enumerate(node)]
        return [
            part if key != keys[0] else without(part, keys[1:])
            for key, part in parts
            if [key] != list(keys)
        ]
    kept = {key: part for key, part in node.items() if [str(key)] != list(keys)}
    return {
        key: part if str(key) != keys[0] else without(part, keys[1:]) for key, part in kept.items()
    }


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A file with some of its parts lost, doubled, moved, of another kind, swept, or something else
    altogether."""
    tree = copy.deepcopy(draw(st.sampled_from(EVERYTHING)))
    for _ in range(draw(st.integers(1, 2))):
        found = list(nodes(tree))
        path, old = draw(st.sampled_from(found))
        match draw(
            st.sampled_from(
                [
                    "other",
                    "huge",
                    "lost",
                    "doubled",
                    "moved",
                    "kind",
                    "swept",
                    "added",
                    "deep",
                    "sampler",
                ]
            )
        ):
            case "other":
                new = draw(ANYTHING)
            case "huge":
                new = draw(HUGE)
            case "lost":
                tree = without(tree, path.split("."))
                continue
            case "doubled":
                new = [*old, *old] if isinstance(old, list) else [old, old]
            case "moved":
                new = copy.deepcopy(draw(st.sampled_from(found))[1])
            case "kind":
                new = draw(
                    st.sampled_from(
                        [
                            str(old),
                            [old],
                            {"name": old},
                            None,
                            True,
                            bool(old),
                            {"0": old},
                            {"same": path},
                        ]
                    )
                )
            case "swept":
                new = {
                    draw(st.sampled_from(["grid", "choice"])): [
                        old,
                        *draw(st.lists(ANYTHING | st.just(old), max_size=2)),
                    ]
                }
            case "added":
                path, new = f"{path}.{draw(WORDS)}", draw(ANYTHING)
            case "deep":
                new = old
                for _ in range(draw(st.sampled_from([3, 40, 120]))):
                    new = draw(st.sampled_from([[new], {"choice": [new]}]))
            case "sampler":
                name = draw(st.sampled_from(["grid", "random", "qmc", "tpe", "cmaes", "nsgaii"]))
                path, new = (
                    "search",
                    {"sampler": name} | ({} if name == "grid" else {"points": POINTS}),
                )
        tree = put_or_leave(tree, path, new)
    return tree


def begin(sweep: Sweep) -> None:
    """Build the first points of a sweep, as they are asked for, and its first teachers."""
    list(sweep.cautions())
    source: Iterator[Point]
    if sweep.file.search.enumerates:
        source = sweep.grid()
    else:
        nowhere = Store("nowhere")
        nowhere.folder = None  # then no study is written
        asked = source_of(sweep, None, Mirror(nowhere, sweep.name, sweep.file.objectives))

        def answered() -> Iterator[Point]:
            while (point := asked.next()) is not None:
                yield point
                asked.tell(
                    point, PointResult([dict.fromkeys(sweep.file.objectives.metrics, 0.5)] * 2)
                )

        source = answered()
    for point in itertools.islice(source, POINTS):
        candidates = sweep.candidates(point)
        assert sweep.student(point, 0, candidates[0] if candidates else None).trial_id
        json.dumps(point.values)
    for teacher in itertools.islice(sweep.teachers(), POINTS):
        assert teacher.trial_id


@pytest.mark.parametrize("tree", EVERYTHING, ids=["tiny", "grid", "search", "branches", "cmaes"])
@pytest.mark.parametrize("smoke", [False, True])
def test_the_files_with_everything_were_good(tree: Any, smoke: bool) -> None:
    sweep = read(tree, smoke=smoke)
    assert sweep is not None
    begin(sweep)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.sampled_from([False, False, True]))
def test_a_damaged_file_is_a_sweep_that_can_begin_or_refused_in_one_line(
    tree: Any, smoke: bool
) -> None:
    sweep = read(tree, smoke=smoke)
    if sweep is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a search space that is used up, and optuna's
            begin(sweep)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_kdray_plan_says_what_a_damaged_file_would_do_or_what_is_wrong_with_it(tree: Any) -> None:
    try:
        text = json.dumps(tree, allow_nan=False)  # which is YAML
    except ValueError:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(text)
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()) as said,
        ):
            status = main(
                ["plan", str(path), "--results", f"{folder}/results", "--cpus", "1", "--gpus", "0"]
            )
    assert status in (0, 2)
    assert said.getvalue().count("\n") == (1 if status else 0)
    assert len(said.getvalue()) < 2000


@settings(max_examples=100)
@given(st.sampled_from(SWEEPS), st.data())
def test_a_shipped_file_with_lines_lost_doubled_or_moved_is_read_or_refused_in_one_line(
    path: Path, data: st.DataObject
) -> None:
    lines = path.read_text().splitlines()
    place = st.integers(0, len(lines) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        first, second = data.draw(place), data.draw(place)
        match data.draw(st.sampled_from(["lost", "doubled", "moved", "outdented", "cut"])):
            case "lost":
                lines[first] = ""
            case "doubled":
                lines[first] += "\n" + lines[first]
            case "moved":
                lines[first], lines[second] = lines[second], lines[first]
            case "outdented":
                lines[first] = lines[first][1:]
            case "cut":
                lines[first] = lines[first][: len(lines[first]) // 2]
    try:
        read(parse_text("\n".join(lines), path.name))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


ENDLESS = {
    "seeds": {"seeds": 10**12},
    "teachers": {"experiment.teacher.seeds": 10**9},
    "population": {"search": {"sampler": "nsgaii", "points": 3, "population": 10**30}},
    "points of a grid": {
        f"experiment.{path}": {"grid": list(range(1, 100))}
        for path in (
            "training.epochs",
            "training.batch_size",
            "method.temperature",
            "data.validation",
        )
    },
    "searches": {
        "search": {"sampler": "random", "points": 1},
        "experiment.method.alpha": {"uniform": [0, 1]},
    }
    | {
        f"experiment.{path}": {"grid": list(range(1, 100))}
        for path in ("training.epochs", "training.batch_size", "method.temperature")
    },
    "teachers of a grid": {
        f"experiment.teacher.training.{path}": {"grid": list(range(1, 100))}
        for path in ("epochs", "batch_size", "optimizer.learning_rate")
    },
    "branches": {
        "experiment.supervision.noise": [
            {
                "choice": [
                    {"name": "signal_dependent", "sigma": {"choice": [sigma]}}
                    for sigma in (0.1, 0.2)
                ]
            }
        ]
        * 20
    },
    "values of a choice in a choice": {
        "experiment.method.alpha": json.loads('{"choice": [' * 60 + "1" + "]}" * 60)
    },
    "what is the same as what is the same": {
        f"experiment.model.x{number}": (
            {"a": {"same": f"model.x{number - 1}"}, "b": {"same": f"model.x{number - 1}"}}
            if number
            else 1
        )
        for number in range(40)
    },
    "a range with no end": {
        "experiment.method.temperature": {"quniform": [1, 1e308, 1]},
        "search": {"sampler": "random", "points": 2},
    },
    "steps without number": {
        "experiment.method.temperature": {"quniform": [1, 2, 1e-300]},
        "search": {"sampler": "random", "points": 2},
    },
}


@pytest.mark.parametrize("smoke", [False, True])
@pytest.mark.parametrize("changes", ENDLESS.values(), ids=ENDLESS)
def test_what_would_never_end_is_refused(changes: dict[str, Any], smoke: bool) -> None:
    tree = TINY
    for path, value in changes.items():
        tree = put_or_leave(tree, path, value)
    sweep = read(tree, smoke=smoke)
    assert sweep is None or smoke, "a smoke test may make it small"


@pytest.mark.parametrize(
    "values", [{"choice": [1, 2]}, {"randint": [1, 3]}, {"quniform": [1, 2, 0.5]}], ids=str
)
def test_a_first_point_may_be_written_with_a_point(values: dict[str, Any]) -> None:
    """1.0 is 1, or is refused."""
    search = {"sampler": "random", "points": 2, "first": [{"method.temperature": 1.0}]}
    sweep = read(changed(TINY, {"search": search, "experiment.method.temperature": values}))
    if sweep is not None:
        begin(sweep)


def test_an_alias_of_an_alias_of_an_alias_is_refused() -> None:
    lines = [
        "a0: &a0 [x, x]",
        *(
            f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 8)}]"
            for number in range(1, 12)
        ),
    ]
    with pytest.raises(InputError, match=r"^sweep"):
        parse_text("\n".join(lines), "sweep")
