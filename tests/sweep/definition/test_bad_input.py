"""What a user can get wrong in a sweep file: one line that names the field and what is allowed,
before any work."""

import copy
from pathlib import Path

import pytest
import yaml

from kdray.cli import main
from kdray.core import InputError, tag_of
from kdray.sweep.definition.read import load_sweep, sweep_from
from kdray.sweep.definition.samplers import CMAES, members_of_search, names_of

GOOD = {
    "name": "good",
    "seeds": 2,
    "search": {"sampler": "grid"},
    "experiment": {
        "data": {"name": "digits"},
        "model": {"name": "mlp", "hidden": [8]},
        "teacher": {"model": {"name": "mlp", "hidden": [16]}, "seeds": 2},
        "noise": {"input": {"name": "gaussian", "sigma": {"grid": [0, 0.1]}}},
        "method": {"name": "kd", "alpha": 0.9, "temperature": 4},
        "training": {"epochs": 2},
    },
    "evaluate": {
        "suite": [
            {"label": "clean_val", "name": "clean", "split": "val"},
            {"name": "pgd", "steps": 2},
        ]
    },
}

CHOICE = {"experiment.noise.input.sigma": {"choice": [0, 0.2]}}
"""Something to search."""
PROPOSERS = [kind for kind in members_of_search() if not kind.enumerates]
WRONG = [
    (
        {
            "objective": {"metric": "smooth.accuracy"},
            "evaluate.suite": [
                {"label": "smooth", "name": "clean", "split": "val", "smoothing": {"samples": 4}}
            ],
        },
        "objective.metric: smooth cannot be measured of a student here: it draws nothing "
        "that smoothing could average",
    ),
    (
        {
            "objective": {"metric": "bound.radius"},
            "experiment.teacher": None,
            "experiment.method": {"name": "cross_entropy"},
            "evaluate.suite": [{"label": "bound", "name": "prediction_bound", "split": "val"}],
        },
        "objective.metric: bound cannot be measured of a student here: it has no trained teacher",
    ),
    ({"sedes": 3}, "sedes: unknown key, did you mean 'seeds'?"),
    (
        {"experiment.method.temperatur": 3},
        "experiment.method.temperatur: unknown key, did you mean 'temperature'?",
    ),
    ({"experiment.trainin": {}}, "experiment.trainin: unknown key, did you mean 'training'?"),
    ({"seeds": "3"}, "seeds: needs a whole number from 1 to 10000, or a list of seeds"),
    ({"seeds": 0}, "(whole numbers from 0 below 2^63), not 0"),
    (
        {"experiment.model.name": "mpl"},
        "experiment.model: unknown name 'mpl', did you mean 'mlp'? (allowed: mlp, ",
    ),
    (
        {"experiment.method.name": "kdd"},
        "experiment.method: unknown name 'kdd', did you mean 'kd'?",
    ),
    ({"experiment.data": {"name": "minst"}}, "unknown name 'minst', did you mean 'mnist'?"),
    ({"experiment.data": {"resize": 8}}, "experiment.teacher.data: needs a 'name'"),
    (
        {"experiment.method.alpha": 1.5},
        "experiment.method.alpha: input should be less than or equal to 1, not 1.5",
    ),
    (
        {"experiment.method.temperature": 0},
        "experiment.method.temperature: input should be greater than 0, not 0",
    ),
    (
        {"experiment.method.alpha": {"grid": [0.5, 0.9, 2]}},
        "less than or equal to 1, not 2 (at method.alpha = 2)",
    ),
    ({"experiment.noise.input.sigma": {"grid": []}}, "experiment.noise.input.sigma.grid: is empty"),
    ({"experiment.noise.input.sigma": {"grid": [1, 1]}}, "sigma.grid[1]: 1 is there twice"),
    ({"experiment.noise.input.sigma": {"grid": 3}}, "sigma.grid: needs a list, not 3"),
    (
        {"experiment.noise.input.sigma": {"uniform": [0, 1]}},
        "a grid cannot hold a continuous range",
    ),
    ({"experiment.noise.input.sigma": {"uniform": [1, 0]}}, "uniform: low 1 is not below high 0"),
    ({"experiment.noise.input.sigma": {"loguniform": [0, 1]}}, "loguniform: low 0 is not above 0"),
    (
        {"experiment.noise.input.sigma": {"randint": [0, 1.5]}},
        "randint: needs integers, not [0, 1.5]",
    ),
    (
        {"experiment.noise.input.sigma": {"quniform": [0, 1]}},
        "quniform: needs low, high, step, not [0, 1]",
    ),
    ({"experiment.noise.input.sigma": {"same": "method.taw"}}, "same: 'method.taw' is no leaf"),
    ({"experiment.method.alpha": {"same": "method.alpha"}}, "is a circle"),
    (
        {"experiment.teacher.data": {"name": "cifar100", "resize": 8, "channels": 1}},
        "teacher.data.name: cifar100 has 100 classes, the student's digits has 10",
    ),
    (
        {"experiment.teacher.data": {"name": "mnist"}},
        "teacher.data: the teacher's images are 1 x 28 x 28",
    ),
    ({"experiment.teacher": None}, "method kd needs a teacher, and there is none"),
    ({"experiment.method": {"name": "cross_entropy"}}, "method cross_entropy asks no teacher"),
    (
        {"experiment.teacher.select": "each", "experiment.teacher.seeds": 1},
        "there is no teacher with seed 1",
    ),
    (
        {"experiment.teacher.select": "best"},
        "teacher.select: input should be 'best_validation', 'best_test' or 'each'",
    ),
    ({"experiment.seed": 3}, "experiment.seed: is set by the sweep"),
    ({"experiment.teacher.seed": 3}, "experiment.teacher.seed: is set by the sweep"),
    (
        {"name": "a/b"},
        "name: 'a/b' may have letters, digits, '-', '_' and '.', at most 100 of them, and must "
        "begin with a letter or digit",
    ),
    ({"name": "../x"}, "name: '../x' may have letters"),
    ({"name": ""}, "name: '' may have letters"),
    (
        {"evaluate.suite": [{"name": "pgd", "label": "ε = 1"}]},
        "evaluate.suite[0].label: 'ε = 1' may have letters, digits, '-' and '_' only",
    ),
    (
        {"experiment.teacher.seds": 3},
        "experiment.teacher.seds: unknown key, did you mean 'seeds'? (allowed: data, init, "
        "method, model, noise, seeds, select, supervision, teacher, training)",
    ),
    (
        {"experiment.optimizer": 3},
        "experiment.optimizer: unknown key (allowed: data, init, method, model, noise, supervision, "
        "teacher, training)",
    ),
    ({"search": {"sampler": "tpe"}}, "search: points: sampler tpe needs to know how many"),
    ({"search": {"sampler": "grid", "points": 3}}, "search: points: a grid has as many as it has"),
    (
        {"search": {"sampler": "tpe", "points": 3}, "experiment.noise": {}},
        "search.sampler: there is nothing to search",
    ),
    (
        {"search": {"sampler": "random", "points": 3, "startup": 2}},
        "search: startup: sampler random has no use for it",
    ),
    (
        {"search": {"sampler": "tpe", "points": 3, "group": True, "multivariate": False}},
        "search: group: needs multivariate: true",
    ),
    (
        {"objective": {"deviations": 2}},
        "objective: deviations: only over_seeds: mean_minus_sd has a use for it",
    ),
    (
        {"objective": {"over_seeds": "mean_minus_sd"}, "seeds": 1},
        "mean_minus_sd needs seeds of 2 or more",
    ),
    (
        {"search": {"first": [{"noise.input.sigma": 0}]}},
        "search: first: a grid has its order; leave first out",
    ),
    (
        {"search": {"sampler": "tpe", "points": 1, "first": [{}, {}]}},
        "search: first: 2 points are more than the 1",
    ),
    (
        {"search": {"sampler": "tpe", "points": 3, "first": [{"noise.sigma": 0}]}, **CHOICE},
        "search.first[0].noise.sigma: is not searched (allowed: noise.input.sigma)",
    ),
    (
        {
            "search": {"sampler": "tpe", "points": 3, "first": [{}, {"noise.input.sigma": 9}]},
            **CHOICE,
        },
        "search.first[1].noise.input.sigma: 9 is not in the range searched (",
    ),
    (
        {"search": {"sampler": "?"}},
        f"search.sampler: unknown name '?' (allowed: grid, {', '.join(map(tag_of, PROPOSERS))})",
    ),
    (
        {"search": {"sampler": "tpee", "points": 3}},
        "search.sampler: unknown name 'tpee', did you mean 'tpe'? (allowed: grid, random, qmc,",
    ),
    (
        {"search": {"sampler": "tpe", "points": 3, "seeed": 3}},
        "search.seeed: unknown key, did you mean 'seed'? (allowed: constant_liar, early_stopping,",
    ),
    ({"search": {"sampler": "tpe", "points": 0}}, "search.points: input should be greater than or"),
    ({"search": {"sampler": ["tpe"], "points": 3}}, "search"),
    ({"search": {"sampler": "tpe", "points": 3}}, "search.sampler: there is nothing to search"),
    (
        {"search": {"sampler": "cmaes", "points": 3}, **CHOICE},
        "search.sampler: cmaes needs 2 ranges of numbers or more; use "
        f"{names_of(kind for kind in PROPOSERS if kind is not CMAES)}",
    ),
    (
        {
            "search": {"sampler": "cmaes", "points": 3},
            "objective": [{}, {"metric": "macs", "mode": "min"}],
            **CHOICE,
        },
        "search.sampler: cmaes knows one objective",
    ),
    (
        {"search": {"sampler": "cmaes", "points": 3}, "constraints": ["macs <= 5"], **CHOICE},
        "cmaes knows no constraints",
    ),
    ({"search": {"racing": {}}, "seeds": 4}, "search.racing: 4 seeds cannot give a p below 0.1"),
    (
        {"search": {"racing": {}}},
        "search.racing: 2 seeds cannot give a p below 0.1: use more seeds",
    ),
    (
        {
            "search": {"racing": {}},
            "seeds": 5,
            "objective": [{}, {"metric": "macs", "mode": "min"}],
        },
        "search.racing: compares points by one objective, there are several",
    ),
    (
        {"search": {"early_stopping": {"metric": "test_accuracy"}}},
        "search.early_stopping.metric: 'test_accuracy' is not known while a student trains "
        "(allowed: val_accuracy, val_loss;",
    ),
    (
        {"search": {"early_stopping": {"pruner": "median", "reduction": 2}}},
        "reduction: median has no use for it",
    ),
    (
        {"search": {"sampler": "cmaes", "points": 3, "population": 3}},
        "search.population: input should be greater than or equal to 4, not 3",
    ),
    (
        {"resources": {"student": {"gpu": "all"}}},
        "resources.student.gpu: input should be a valid number or 'auto'",
    ),
    (
        {"resources": {"student": {"gpu": 0.00001}}},
        "gpu 1e-05 is less than 0.0001, the smallest part that Ray counts",
    ),
    (
        {"resources": {"student": {"hours": 0}}},
        "resources.student.hours: input should be greater than 0",
    ),
    (
        {"callbacks": [{"name": "tensorbord"}]},
        "unknown name 'tensorbord', did you mean 'tensorboard'?",
    ),
    (
        {"search": {"sampler": "tpe", "points": 3, "first": [{"case": "a"}]}, **CHOICE},
        'search.first[0].case: "a" is no case',
    ),
    (
        {"experiment.teacher": [{"grid": [1]}]},
        "experiment.teacher: input should be an experiment or null",
    ),
    (
        {
            "experiment.noise.input.sigma": {"quniform": [-1e308, 1e308, 1]},
            "search": {"sampler": "tpe", "points": 2},
        },
        "noise.input.sigma.quniform: low -1e+308 and high 1e+308 are too far apart",
    ),
    ({"seeds": 10**9}, "seeds: needs a whole number from 1 to 10000"),
    (
        {"experiment.teacher.seeds": 10**9},
        "experiment.teacher.seeds: needs a whole number from 1 to 10000",
    ),
    (
        {
            f"experiment.{path}": {"randint": [1, 999]}
            for path in ("training.epochs", "training.batch_size", "method.temperature")
        },
        "experiment: has 1988023984 points; at most 1000000 can be gone through",
    ),
    (
        {
            f"experiment.{path}": {"choice": [{"a": {"choice": [i, 99]}} for i in range(20)]}
            for path in ("a", "b", "c")
        },
        "experiment: has more than 1000 combinations of branches",
    ),
    ({"experiment.model.hidden": [["x" * 500]]}, "…"),
    (
        {"constraints": ["accuracy"]},
        "constraints[0]: 'accuracy' is no constraint (allowed: 'METRIC >= NUMBER' or",
    ),
    (
        {"constraints": ["val_accuracy >= high"]},
        "constraints[0]: 'val_accuracy >= high' is no constraint",
    ),
    (
        {"constraints": ["test_accuracy >= 0.5"]},
        "constraints[0]: test_accuracy is measured on the test split",
    ),
    (
        {"objective": [{}, {"metric": "size", "mode": "min"}]},
        "objective[1].metric: unknown metric 'size' (allowed: val_accuracy, "
        "clean_val.accuracy, parameters, weights, macs)",
    ),
    (
        {
            "evaluate": {
                "suite": [{"name": "pgd"}],
                "best": {"points": 2, "suite": [{"name": "pgd", "steps": 9}]},
            }
        },
        "label 'pgd' is used twice",
    ),
    (
        {"evaluate": {"best": {"points": 2, "suite": [{"name": "transfer"}]}}},
        "best.suite: what measures trials with",
    ),
    (
        {"evaluate": {"best": {"points": 0, "suite": [{"name": "pgd"}]}}},
        "evaluate.best.points: input should be greater than",
    ),
    (
        {
            "experiment.method": {
                "choice": [{"name": "kd", "temperature": {"grid": [1, 2]}}, {"uniform": [1, 2]}]
            }
        },
        "experiment.method.choice[1]: is a distribution itself; put its values into the list",
    ),
    (
        {
            "experiment.method": {
                "choice": [{"name": "kd", "temperature": {"grid": [1, -2]}}, {"name": "margin"}]
            }
        },
        "experiment.method.temperature: input should be greater than 0",
    ),
    (
        {"objective": {"metric": "test_accuracy"}},
        "objective.metric: test_accuracy is measured on the test split",
    ),
    (
        {"objective": {"metric": "pgd.accuracy"}},
        "objective.metric: pgd is measured on the test split",
    ),
    (
        {"objective": {"metric": "pdg.accuracy"}},
        "unknown metric 'pdg.accuracy' (allowed: val_accuracy, clean_val.accuracy, ",
    ),
    ({"objective": {"metric": "clean_val.acuracy"}}, "clean_val gives no 'acuracy'"),
    (
        {"evaluate": {"suite": [{"name": "pgd", "epsilon": -1}]}},
        "evaluate.suite[0].epsilon: input should be greater",
    ),
    (
        {"evaluate": {"suite": [{"name": "pgd"}, {"name": "pgd", "steps": 3}]}},
        "label 'pgd' is used twice",
    ),
    (
        {"evaluate": {"suite": [{"name": "pgd"}, {"name": "pgd", "label": "x"}]}},
        "differ in their label only",
    ),
    (
        {"resources": {"student": {"cpu": 0}}},
        "resources.student.cpu: input should be greater than 0, not 0",
    ),
    (
        {"resources": {"student": {"gpu": 1.5}}},
        "resources.student.gpu: gpu 1.5 is more than a trial uses: it trains on one GPU",
    ),
    (
        {"resources": {"teacher": {"gpu": 2}}},
        "resources.teacher.gpu: gpu 2 is more than a trial uses: it trains on one GPU (allowed: 0 "
        "to 1, or auto); more trials at once use more GPUs",
    ),
    ({"cases": [{"name": "a"}, {"name": "a"}]}, "cases: name 'a' is used twice"),
    (
        {"cases": [{"name": "a", "set": {"method.alpha": 7}}]},
        "cases[0] (a): experiment.method.alpha: input should be less",
    ),
    (
        {"experiment.model.hidden": [8, "x"]},
        'experiment.model.hidden[1]: input should be a valid integer, not "x"',
    ),
    (
        {"experiment.training.epochs": 0},
        "training.epochs: input should be greater than or equal to 1, not 0",
    ),
    (
        {"experiment.training.optimizer": {"name": "sgd", "learning_rate": -1}},
        "learning_rate: input should be greater than 0",
    ),
]


def put(tree: dict, path: str, value: object) -> None:
    *above, last = path.split(".")
    for key in above:
        tree = tree[key]
    tree[last] = value


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_mistake_is_named_in_one_line(changes: dict, message: str) -> None:
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        put(tree, path, value)
    with pytest.raises(InputError) as raised:
        sweep_from(tree)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_file_without_a_mistake_is_accepted() -> None:
    assert len(list(sweep_from(GOOD).grid())) == 2


def test_a_swept_teacher_must_be_finite_also_where_it_inherits() -> None:
    tree = copy.deepcopy(GOOD)
    tree["search"] = {"sampler": "random", "points": 3}
    tree["experiment"]["training"]["optimizer"] = {
        "name": "sgd",
        "learning_rate": {"loguniform": [0.01, 1]},
    }
    with pytest.raises(
        InputError,
        match=r"training.optimizer.learning_rate: is continuous.*the teacher inherits it",
    ):
        sweep_from(tree)
    tree["experiment"]["teacher"]["training"] = {
        "optimizer": {"name": "sgd", "learning_rate": {"uniform": [0.01, 1]}}
    }
    with pytest.raises(
        InputError, match=r"teacher.training.optimizer.learning_rate: is continuous"
    ):
        sweep_from(tree)
    tree["experiment"]["teacher"]["training"]["optimizer"]["learning_rate"] = 0.1
    assert sweep_from(tree).spaces[0].teacher_paths == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "needs path=value"),
        ("sede=3", "--set sede: unknown, did you mean 'seeds'?"),
        (
            "training.epohs=3",
            "experiment.teacher.training.epohs: unknown key, did you mean 'epochs'?",
        ),
        ("training.epochs=[", "--set training.epochs:1: not YAML"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        sweep_from(GOOD, set=[override])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "a: 1\na: 2", "3", "name: x", "\x00", "a: &a [*a]", "x: 1e999"]
)
def test_a_file_that_is_no_sweep_is_one_line_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load_sweep(path)
    assert str(raised.value).startswith(f"{path}")
    assert "\n" not in str(raised.value)


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict, *arguments: str) -> str:
    """What ``kdray run`` says of a sweep file with mistakes; exit status 2, nothing written."""
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        put(tree, path, value)
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(tree))
    assert main(["run", str(file), "--results", str(tmp_path / "results"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_exit_status_2_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = run(tmp_path, capsys, {"experiment.method.alpha": 3})
    assert error.startswith(f"kdray: {tmp_path}/sweep.yaml: experiment.method.alpha")
    assert not (tmp_path / "results").exists()


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert (
        capsys.readouterr().err
        == f"kdray: {tmp_path}/none.yaml: cannot be read (No such file or directory)\n"
    )


def test_a_missing_data_set_is_named_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = run(
        tmp_path, capsys, {"experiment.data": {"name": "mnist"}}, "--data", str(tmp_path / "data")
    )
    assert "data set 'mnist' is not in" in error
    assert "run 'kdray data mnist'" in error
    assert not (tmp_path / "results").exists()


def test_a_gpu_where_there_is_none_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    error = run(tmp_path, capsys, {"resources": {"student": {"gpu": 0.5}}})
    assert (
        "resources.student.gpu: 0.5 asked for, there is at most none; --set resources.student.gpu=0"
        in error
    )


def test_more_cpus_than_any_node_has_are_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = run(tmp_path, capsys, {"resources": {"teacher": {"cpu": 8}}}, "--cpus", "2")
    assert "resources.teacher.cpu: 8 asked for, the largest node (this machine) has 2" in error


def test_results_that_cannot_be_written_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    assert "cannot be written" in run(tmp_path, capsys, {})


def test_results_of_a_newer_schema_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "schema.json").write_text('{"kdray_schema": 99}')
    assert "results of schema 99, this kdray reads up to 2; update kdray" in run(
        tmp_path, capsys, {}
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "the following arguments are required: SWEEP.yaml"),
        (["rnu", "x"], "invalid choice: 'rnu'"),
        (["run", "x.yaml", "--cpus", "none"], "'none' is not a whole number from 1"),
        (["list", "cats"], "invalid choice: 'cats'"),
        (["status", "/nonexistent"], "/nonexistent: no results here"),
        (["data", "minst"], "unknown name 'minst', did you mean 'mnist'?"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
