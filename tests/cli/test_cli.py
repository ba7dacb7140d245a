"""The command line as its user sees it: what it prints where, and its exit status."""

from __future__ import annotations

import argparse
import gc
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kdray import __version__
from kdray.cli import build_parser, main, tables
from kdray.cli.doctor import Finding
from kdray.core import InputError, tag_of, value_types
from kdray.core.garbage import OBJECTS
from kdray.data import AnyData, VisionData
from kdray.models import MLP
from kdray.results import Results, Store, write_rows
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import write_objectives
from kdray.sweep.execution.resources import Node
from tests.sweep.fakes import TINY, Engine, changed, go, instead_of_ray


@pytest.fixture
def engine() -> Iterator[Engine]:
    with instead_of_ray() as fake:
        yield fake


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny sweep; not to be changed."""
    folder = tmp_path_factory.mktemp("cli") / "results"
    with instead_of_ray():
        go(folder)
    return folder


def sweep_file(folder: Path, changes: dict[str, Any] | None = None) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(changed(TINY, changes or {}), sort_keys=False))
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """What a command prints on stdout and stderr."""
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(actions[0].choices)  # type: ignore[arg-type]


# Help.


def test_the_commands_are_these() -> None:
    assert set(commands()) >= {"run", "plan", "status", "evaluate", "list", "data", "doctor"}


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert f"usage: kdray {command}" in text
    assert f"example: kdray {command}" in text


@pytest.mark.parametrize("command", commands())
def test_the_example_of_every_command_can_be_read(command: str) -> None:
    epilog = str(commands()[command].epilog)
    chosen = build_parser().parse_args(shlex.split(epilog.removeprefix("example: kdray ")))
    assert chosen.command == command


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, kdray.cli; kdray.cli.build_parser(); print(*{'torch', 'ray', 'pandas', "
        "'pyarrow'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout
        == "\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_completes_commands_options_and_files(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("evaluate", "retry-failed", "plugin"):
        assert word in script


def test_bash_takes_the_script_for_completion(tmp_path: Path) -> None:
    assert main(["completion", "bash", "--out", str(tmp_path / "kdray")]) == 0
    words = (
        f"source {tmp_path / 'kdray'}; COMP_WORDS=(kdray r); COMP_CWORD=1; COMP_LINE='kdray r'; "
        "_shtab_kdray; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["run", "report"]


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "kdray sweep"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"kdray {__version__}\n"


def test_arguments_are_not_guessed_from_their_first_letters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, error = said(capsys, "run", "x.yaml", "--retry", status=2)
    assert "unrecognized arguments: --retry" in error


# run.


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> list[Node]:
    """The nodes that a Ray of a process of its own was started early for; trials run without
    one."""
    import kdray.sweep.execution.cluster

    started: list[Node] = []

    @contextmanager
    def started_early(node: Node) -> Iterator[None]:
        started.append(node)
        yield

    monkeypatch.setattr(kdray.sweep.execution.cluster, "started_early", started_early)
    return started


def test_python_looks_for_garbage_less_often_during_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, during = gc.get_threshold(), []

    def nothing(chosen: Any) -> int:
        during.append(gc.get_threshold())
        return 0

    monkeypatch.setattr("kdray.cli.commands.doctor.execute", nothing)
    assert main(["doctor"]) == 0
    assert during == [(OBJECTS, *before[1:])]
    assert gc.get_threshold() == before


def as_typed(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a process of its own."""
    monkeypatch.setattr(sys, "argv", ["kdray", *arguments])
    return main()


def test_ray_starts_early_for_a_sweep_without_results(
    early: list[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        as_typed(
            ["run", sweep_file(tmp_path), "--results", str(tmp_path / "new"), "--cpus", "3"],
            monkeypatch,
        )
        == 0
    )
    assert [node.cpu for node in early] == [3]


@pytest.mark.parametrize(
    "wanted",
    [
        ["run", "SWEEP", "--results", "FINISHED"],
        ["run", "nowhere.yaml", "--results", "NEW"],
        ["plan", "SWEEP"],
        ["run", "SWEEP", "--results", "NEW", "--set", "training.epochs=0"],
        ["run", "WORKERS", "--results", "NEW"],
        ["run", "SWEEP", "--results", "NEW", "--set", "resources.student.cpu=1000"],
    ],
)
def test_ray_does_not_start_before_it_is_known_that_and_how_it_is_needed(
    wanted: list[str],
    early: list[Node],
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = sweep_file(tmp_path)
    workers = tmp_path / "workers.yaml"
    workers.write_text(Path(sweep).read_text() + "resources: {runtime_env: {env_vars: {A: '1'}}}\n")
    names = {
        "SWEEP": sweep,
        "WORKERS": str(workers),
        "FINISHED": str(finished),
        "NEW": str(tmp_path / "new"),
    }
    as_typed([names.get(each, each) for each in wanted], monkeypatch)
    assert early == []


def test_ray_does_not_start_early_in_somebody_elses_process(
    early: list[Node], tmp_path: Path
) -> None:
    assert main(["run", sweep_file(tmp_path), "--results", str(tmp_path / "new")]) == 0
    assert early == []


def test_run_prints_the_points_and_where_the_tables_are(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = str(tmp_path / "results")
    out, error = said(capsys, "run", sweep_file(tmp_path), "--results", results)
    assert f"6 trials run, 0 there already; tables in {results}/trials" in out
    assert "tiny: mean ± standard deviation over seeds" in out
    assert [line.split(":")[0] for line in error.splitlines()] == ["teachers"] * 2 + [
        "students"
    ] * 2
    engine.ran.clear()
    out, error = said(capsys, "run", sweep_file(tmp_path), "--results", results)
    assert "nothing left to do, 6 there already" in out
    assert error == ""
    assert engine.ran == []


def test_the_table_shows_the_swept_parameters_and_mean_and_deviation(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "status", str(finished))
    heading = next(line for line in out.splitlines() if "sigma" in line)
    names = [name.strip() for name in heading.strip("┃").split("┃")]
    assert names[:6] == ["point", "sigma", "n", "best", "val", "test"]
    assert sorted(names[6:]) == ["clean", "pgd1"]
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row.split("│")[1:4]] for row in rows] == [
        ["0", "0", "2"],
        ["1", "0.2", "2"],
    ]
    assert all(row.count(" ± 0.") == 4 for row in rows)


def test_of_many_points_the_best_and_the_first_are_printed(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = said(capsys, "status", str(finished))
    (best,) = (line for line in whole.splitlines() if line.startswith("│") and "*" in line)
    monkeypatch.setattr(tables, "MOST", 1)
    out, _ = said(capsys, "status", str(finished))
    assert [line for line in out.splitlines() if line.startswith("│")] == [best]
    assert f"and 1 more points: kdray report {finished} --out points.csv has all" in out


def test_a_smoke_test_has_results_of_its_own(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(tmp_path, {"experiment.data": {"name": "mnist"}})
    out, _ = said(capsys, "run", file, "--smoke", "--results", f"{tmp_path}/results/")
    assert f"tables in {tmp_path}/results-smoke/trials" in out
    assert {a.task.experiment.data.name for a in engine.ran} == {"digits"}
    assert not (tmp_path / "results").exists()


def test_failures_are_listed_on_stderr_and_in_the_exit_status(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging = {
        "experiment.training.optimizer": {"name": "sgd", "learning_rate": 1e30},
        "seeds": 1,
        "experiment.teacher.training": {"optimizer": {"name": "sgd"}},
    }
    command = ["run", sweep_file(tmp_path, diverging), "--results", str(tmp_path / "results")]
    _, error = said(capsys, *command, status=1)
    lines = error.splitlines()
    assert "2 failed:" in lines
    assert sum(": Diverged: the loss is" in line for line in lines) == 2
    assert lines[-1] == "the same command with --retry-failed tries them again"
    engine.ran.clear()
    said(capsys, *command, status=1)
    assert engine.ran == []
    said(capsys, *command, "--retry-failed", status=1)
    assert len(engine.ran) == 2
    out, _ = said(capsys, "status", str(tmp_path / "results"))
    assert "tiny: teachers: 2 completed; students: 2 failed" in out
    assert out.count("  failed: ") == 2


def test_a_fault_of_the_machine_needs_no_retry_failed(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.dies = lambda task: task.role == "student"
    _, error = said(
        capsys, "run", sweep_file(tmp_path), "--results", str(tmp_path / "results"), status=1
    )
    assert "WorkerDied" in error
    assert "--retry-failed" not in error


def test_a_point_that_cannot_be_built_is_not_to_be_retried(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = {
        "data": {"name": "digits", "examples": 100},
        "model": {"name": "cifar_resnet", "depth": {"randint": [8, 21]}},
        "method": {"name": "cross_entropy"},
        "training": {"epochs": 1, "batch_size": 50},
    }
    search = {"sampler": "random", "points": 2, "seed": 1}
    file = tmp_path / "depth.yaml"
    file.write_text(yaml.safe_dump({"name": "d", "search": search, "experiment": experiment}))
    _, error = said(capsys, "run", str(file), "--results", str(tmp_path / "results"), status=1)
    assert "failed:" in error
    assert "--retry-failed" not in error


# Interruption.


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.run.run", interrupted)
    file = sweep_file(tmp_path)
    _, error = said(capsys, "run", file, "--set", "seeds=3", status=130)
    assert error.splitlines() == [
        "",
        f"kdray: interrupted; what is finished is kept. To go on:  kdray run {file} --set seeds=3",
    ]


def test_the_command_to_go_on_can_be_typed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.run.run", interrupted)
    command = ["run", sweep_file(tmp_path), "--set", "noise.input.sigma={grid: [0, 0.2]}"]
    _, error = said(capsys, *command, status=130)
    assert shlex.split(error.partition("To go on:  ")[2]) == ["kdray", *command]


def test_sigterm_stops_like_ctrl_c_and_the_handler_is_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kdray.sweep.run.run", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    _, error = said(capsys, "run", sweep_file(tmp_path), status=130)
    assert "To go on:" in error
    assert signal.getsignal(signal.SIGTERM) is before


# plan, status, evaluate.


def test_import_prints_the_accuracy_and_doubts_what_is_far_below_the_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(MLP(hidden=(4,)).build((1, 8, 8), 10).state_dict(), tmp_path / "net.pt")
    command = ["import", str(tmp_path / "results"), "--weights", str(tmp_path / "net.pt")]
    command += ["--data", "{name: digits}", "--normalization", "{mean: [0.5], std: [0.2]}"]
    model = ["--model", "{name: mlp, hidden: [4]}"]
    assert main([*command, *model, "--expect-accuracy", "0.95"]) == 0
    told = capsys.readouterr()
    assert "net in sweep imported: 310 parameters, accuracy 0." in told.out
    assert "is far below the expected 0.9500: wrong normalisation" in told.err
    assert main([*command, "--model", "mlp"]) == 2
    assert "--model: needs a mapping, as in a sweep file, not 'mlp'" in capsys.readouterr().err
    assert main([*command, "--model", "{name: mlp}"]) == 2
    assert "does not fit mlp" in capsys.readouterr().err


def test_plan_says_what_is_to_do_and_how_long_it_takes(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, nothing, cpus = sweep_file(tmp_path), str(tmp_path / "nothing"), ["--cpus", "2"]
    out, _ = said(capsys, "plan", file, "--results", nothing, *cpus)
    assert out.splitlines() == [
        f"sweep tiny, results in {nothing}",
        "  teachers: 2: 2 to train; 2 at once, limited by CPU",
        "  students: 4: 4 pending (their teacher is not chosen yet); 2 at once, limited by CPU",
        "  estimated time: unknown until trials like these have run",
    ]
    assert not Path(nothing).exists()
    out, _ = said(
        capsys,
        "plan",
        file,
        "--results",
        str(finished),
        "--max-concurrent",
        "1",
        "--set",
        "seeds=3",
        *cpus,
    )
    lines = out.splitlines()
    assert lines[1:3] == [
        "  teachers: 2: 2 there already; 1 at once, limited by --max-concurrent",
        "  students: 6: 2 to train, 4 there already; 1 at once, limited by --max-concurrent",
    ]
    assert lines[3].startswith("  estimated time: ")
    assert lines[3].endswith(" s of training")


def test_plan_of_a_search_and_of_what_cannot_run_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sweep_file(
        tmp_path,
        {
            "search": {"sampler": "random", "points": 3},
            "resources": {"student": {"cpu": 9}},
            "experiment.noise.input.sigma": {"uniform": [0, 1]},
        },
    )
    out, _ = said(capsys, "plan", file, "--results", str(tmp_path / "nothing"), "--cpus", "2")
    assert (
        "students: 6: 6 from a search; cannot run here: resources.student.cpu: 9 asked for" in out
    )


def test_status_of_one_trial_is_a_line_for_everything(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial_id = Results(finished).trials()["trial_id"].iloc[0]
    out, _ = said(capsys, "status", str(finished), trial_id[:6])
    table = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert table["trial_id"] == trial_id
    assert table["status"] == "completed"
    assert table["data.name"] == "digits"


def test_status_lists_the_ids_of_all_trials(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "status", str(finished), "--trials")
    trials = Results(finished).trials()
    assert all(trial_id in out for trial_id in trials["trial_id"])
    assert out.count("teacher ") == (trials["role"] == "teacher").sum()


@pytest.mark.parametrize("command", ["status", "report", "compact"])
def test_a_uri_without_a_bucket_is_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = said(capsys, command, "s3://", status=2)
    assert err == "kdray: s3://: names no bucket and no folder\n"


def test_only_what_goes_on_says_that_it_does(
    tmp_path: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    _, err = said(capsys, "report", str(finished), "--out", str(tmp_path / "x.csv"), status=1)
    assert err.splitlines()[-1] == "kdray: [Errno 28] No space left on device"


def test_status_of_a_folder_in_which_nothing_has_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store(tmp_path).create()
    out, _ = said(capsys, "status", str(tmp_path))
    assert out == f"{tmp_path}: no sweep has run here yet\n"


def test_evaluate_measures_what_a_file_lists(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    go(results, {"seeds": 1})
    (tmp_path / "suite.yaml").write_text("- {label: again, name: clean}\n")
    command = ["evaluate", str(results), "--suite", str(tmp_path / "suite.yaml")]
    out, _ = said(capsys, *command, "--role", "student", "--cpu", "0.5")
    assert "2 trials measured, 0 there already" in out
    assert engine.grants[-1].cpu == 0.5
    out, _ = said(capsys, *command)
    assert "2 trials measured, 2 there already" in out


def test_a_share_of_a_gpu_that_cannot_be_is_one_line(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suite.yaml").write_text("- {label: again, name: clean}\n")
    said(
        capsys,
        "evaluate",
        str(finished),
        "--suite",
        str(tmp_path / "suite.yaml"),
        "--gpu",
        "1.5",
        status=2,
    )


# The table of points.


def table_of(folder: Path, capsys: pytest.CaptureFixture[str], *members: dict[str, Any]) -> str:
    """What ``kdray status`` prints of points that stand in the results as ``members``."""
    store = Store(folder)
    store.create()
    for number, row in enumerate(members):
        common = {
            "sweep": "s",
            "trial_id": f"t{number}",
            "role": "student",
            "point": number,
            "order": number,
        }
        write_rows(store, "members", f"m{number}", [{**common, "outcome": "completed", **row}], {})
        trial = {"trial_id": f"t{number}", "status": "completed", "val_accuracy": 0.5}
        write_rows(store, "trials", f"t{number}", [trial], {})
    return said(capsys, "status", str(folder))[0]


def test_one_seed_has_no_deviation_and_a_number_that_is_missing_is_a_dash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = {"evaluation_id": "e", "label": "noise", "metric": "accuracy", "value": 0.25}
    store = Store(tmp_path)
    store.create()
    rows = [{**number, "trial_id": "t0", "sigma": sigma} for sigma in (0.1, 0.2)]
    write_rows(store, "robustness", "r", rows, {})
    out = table_of(tmp_path, capsys, {"swept": '{"a.b": 1}'}, {"swept": '{"a.b": 2}'})
    assert "±" not in out.partition("\n")[2].partition("\n")[2]
    assert "noise[sigma=0.1]" in out
    assert "noise[sigma=0.2]" in out
    rows_shown = [line for line in out.splitlines() if line.startswith("│")]
    assert [row.count("–") for row in rows_shown] == [0, 2]
    assert rows_shown[0].count("0.250") == 2


def test_as_many_columns_are_shown_as_there_is_room_for_and_the_rest_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    store.create()
    number = {
        "evaluation_id": "e",
        "label": "noise",
        "metric": "accuracy",
        "value": 0.25,
        "trial_id": "t0",
    }
    write_rows(
        store, "robustness", "r", [{**number, "sigma": sigma / 100} for sigma in range(30)], {}
    )
    out = table_of(tmp_path, capsys, {"swept": '{"a.b": 1}'})
    assert max(map(len, out.splitlines())) <= 200
    assert 5 <= out.count("noise[sigma=") < 30
    assert (
        f"and {30 - out.count('noise[sigma=')} more numbers: "
        f"kdray.open_results('{tmp_path}').frame() has all" in out
    )


def test_parameters_with_the_same_last_word_are_told_by_their_whole_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table_of(
        tmp_path,
        capsys,
        {"swept": '{"model.dropout": 0.1, "teacher.model.dropout": 0.2, "method.alpha": 1}'},
    )
    heading = next(line for line in out.splitlines() if "alpha" in line)
    assert "model.dropout" in heading
    assert "teacher.model.dropout" in heading
    assert "method.alpha" not in heading


def test_the_table_has_what_its_star_is_about_and_says_what_each_value_is_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    store.create()
    aims = Objectives(objectives=(Objective(metric="clean_val.loss", mode="min"),))
    write_objectives(store, "s", aims)
    number = {"evaluation_id": "e", "label": "clean_val", "metric": "loss", "trial_id": "t0"}
    write_rows(store, "robustness", "r", [number | {"value": 0.125, "split": "val"}], {})
    out = table_of(tmp_path, capsys, {"swept": '{"schedule.milestones.0": 5, "sizes.0": 7}'})
    assert "clean_val.loss" in out
    assert "0.125" in out
    assert "milestones[0]" in out
    assert "sizes[0]" in out


def test_lists_and_texts_are_shown_as_they_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table_of(
        tmp_path,
        capsys,
        {"swept": '{"hidden": [8, 16], "optimizer": {"name": "sgd"}, "clip": true, "n_": null}'},
    )
    assert "[8, 16]" in out
    assert '{"name": "sgd"}' in out
    assert "true" in out


@pytest.mark.parametrize(
    "row", [{"case": "[red]x", "swept": "{}"}, {"swept": '{"kind": "[red]x"}'}]
)
def test_square_brackets_survive_in_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any]
) -> None:
    assert "[red]x" in table_of(tmp_path, capsys, row)


@pytest.mark.parametrize("value", ["true", "[8, 16]"])
def test_a_parameter_that_a_case_lacks_is_an_empty_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    out = table_of(
        tmp_path, capsys, {"case": "a", "swept": f'{{"p": {value}}}'}, {"case": "b", "swept": "{}"}
    )
    assert "None" not in out


def test_a_large_number_is_shown_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table_of(
        tmp_path, capsys, {"swept": '{"p": 1234567, "q": 1}'}, {"swept": '{"q": 2}', "case": "b"}
    )
    assert "1234567" in out


# list, data, doctor.


@pytest.mark.parametrize("what", ["models", "methods", "noise", "datasets", "evaluations"])
def test_list_prints_names_meanings_and_papers(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from kdray.cli.catalogue import entries

    out, _ = said(capsys, "list", what)
    for entry in entries(what):  # type: ignore[arg-type]
        assert f"{entry.name:20} {entry.summary}\n" in out
        for detail in entry.details:
            assert f"{'':20}   {detail}\n" in out


def test_digits_need_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "data", "digits") == ("digits: shipped with kdray, nothing to fetch\n", "")


VISION = [str(tag_of(kind)) for kind in value_types(AnyData) if issubclass(kind, VisionData)]


@pytest.mark.parametrize("name", VISION)
def test_without_a_network_every_file_is_told_with_its_place_source_and_checksum(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(self: VisionData, root: Path) -> None:
        raise OSError("Network\nis unreachable")

    monkeypatch.setattr(VisionData, "fetch", unreachable)
    out, error = said(capsys, "data", name, "--data", str(tmp_path), status=1)
    assert out == ""
    first, second, *files = error.splitlines()
    assert first == f"kdray: {name} could not be downloaded (Network is unreachable)"
    assert (
        second
        == f"kdray: without a network, put these files there, and run kdray data {name} again:"
    )
    kind = next(kind for kind in value_types(AnyData) if tag_of(kind) == name)
    assert issubclass(kind, VisionData)
    for source, line in zip(kind().sources(), files, strict=True):
        assert line == f"  {tmp_path}/{source.path}   from {source.url}, md5 {source.md5}"
        assert len(source.md5) == 32
        assert source.url.startswith("http")


@pytest.mark.parametrize("name", VISION)
def test_a_check_fetches_nothing_and_names_what_is_missing_or_wrong(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VisionData, "fetch", interrupted)
    out, _ = said(capsys, "data", name, "--check", "--data", str(tmp_path), status=1)
    assert {line.rpartition(": ")[2] for line in out.splitlines()} == {"missing"}
    first = Path(out.partition(": ")[0])
    first.parent.mkdir(parents=True, exist_ok=True)
    first.write_bytes(b"something else")
    out, _ = said(capsys, "data", name, "--check", "--data", str(tmp_path), status=1)
    assert f"{first}: NOT the official file (checksum differs)" in out


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (None, 0), (False, 1)])
def test_doctor_says_what_is_wrong_and_whether_anything_is(
    ok: bool | None,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "kdray.cli.commands.doctor.examine", lambda _: iter([Finding("Ray", ok, "about Ray")])
    )
    out, _ = said(capsys, "doctor", status=status)
    sign = {True: "ok   ", None: "note ", False: "WRONG"}[ok]
    assert out.splitlines()[0] == f"{sign} Ray: about Ray"
    assert out.splitlines()[1] == (
        "1 to mend" if ok is False else "everything that a sweep needs works"
    )


def test_what_a_user_wrote_wrong_is_one_line_whatever_the_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise InputError("first line\n  second line")

    monkeypatch.setattr("kdray.cli.commands.list.entries", wrong)
    assert said(capsys, "list", "models", status=2) == ("", "kdray: first line second line\n")
