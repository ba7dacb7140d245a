from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor

import kdray
from kdray.cli.commands.export import execute
from kdray.cli.parser import build_parser
from kdray.core import InputError
from kdray.data import to_unit
from kdray.exporting import FORMATS, Disagreement, export, load_model
from kdray.exporting.hub import front_matter
from kdray.exporting.loading import find
from kdray.results import Results, Store, write_rows
from kdray.results.record import labels_file, write_labels
from kdray.trials.experiment import Experiment
from tests.small_trials import NOWHERE, digits, distillation, do, experiment, store_in

PGD3 = {"name": "pgd", "label": "pgd3", "steps": 3, "epsilon": 8 / 255, "examples": 20}
CORRUPTIONS = {
    "name": "corruptions",
    "kinds": ["fog", "contrast"],
    "severities": [1, 5],
    "examples": 20,
}
NOISY = {"name": "cifar_resnet", "depth": 8, "weight_noise": {"name": "pni"}}
STUDENT = distillation(noise={"input": {"name": "gaussian", "sigma": 0.1}})
QUIET = experiment(model=NOISY, training={"epochs": 1, "batch_size": 90})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A teacher, its measured student in a sweep, and a model that draws."""
    there = store_in(tmp_path_factory.mktemp("export") / "results")
    assert STUDENT.teacher is not None
    do(STUDENT.teacher, there, role="teacher")
    do(STUDENT, there, {"name": "clean"}, PGD3, CORRUPTIONS)
    do(QUIET, there, PGD3)
    write_rows(
        there, "trials", "f" * 16, [{"trial_id": "f" * 16, "status": "failed"}], {}
    )  # makes whole numbers floats
    member = {
        "sweep": "<script>",
        "trial_id": STUDENT.trial_id,
        "role": "student",
        "order": 0,
        "outcome": "completed",
    }
    write_rows(there, "members", "one", [member], {})
    return there


def write(
    store: Store,
    out: Path,
    format: Any = "safetensors",
    trial: Experiment = STUDENT,
    **options: Any,
) -> Any:
    return export(store.location, trial.trial_id, format, out=out, data=NOWHERE, **options)


@pytest.mark.parametrize("format", FORMATS)
def test_the_program_on_the_card_runs(
    store: Store,
    format: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = write(store, tmp_path / "out", format)
    assert set(written.folder.iterdir()) == {written.model, written.card}
    assert list(tmp_path.iterdir()) == [written.folder]
    assert set(written.differences) == {"64 random images", "60 test images"}
    (program,) = re.findall(r"```python\n(.*?)```", written.card.read_text(), re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    monkeypatch.chdir(written.folder)
    monkeypatch.setattr(kdray, "load_model", load_model, raising=False)
    names = runpy.run_path(str(tmp_path / "program.py"))
    assert names["logits"].shape == (4, 10)
    assert re.match(r"(tensor\()?\[", capsys.readouterr().out)


def test_the_card_says_what_is_known(store: Store, tmp_path: Path) -> None:
    written = write(store, tmp_path / "out")
    text, results = written.card.read_text(), Results(store.location)
    trial = results.trials().set_index("trial_id").loc[STUDENT.trial_id]
    measured = results.robustness(where=[("trial_id", "==", STUDENT.trial_id)])
    row = measured.query("evaluation == 'pgd' and metric == 'accuracy'").iloc[0]
    assert STUDENT.teacher is not None
    for said in (
        "# mlp on digits, method kd",
        "180 train, 60 val, 60 test images",
        "images (N, 1, 8, 8) as float32 in [0, 1]",
        "mean 0 and standard deviation 1",
        f"`{STUDENT.teacher.trial_id}`: `mlp(input_sigma=0, hidden=[16], dropout=0)`",
        "kd(logit_standardization=False, alpha=",
        "input=gaussian(",
        "sweep `<script>`",
        f"| test | {trial['test_accuracy']:.4f} | 0.",
        "| `pgd3` | `digits, test` | `norm=linf, epsilon=8/255, step_size=2/255, steps=3, "
        "restarts=1, samples=1` | "
        f"`accuracy` | {row['value']:.4f} | {row['low']:.4f} | {row['high']:.4f} | 20 |",
        *fogged(measured[measured["corruption"] == "fog"]),
        "95 % Wilson",
        "## Limits",
        f"| parameters | {int(trial['parameters']):,} |",
        '"name": "digits"',
        "0.0001",
    ):
        assert said in text, said
    outside = re.sub(r"`[^`\n]*`|```.*?```", "", text, flags=re.DOTALL)
    assert "<script>" not in outside
    assert text.count("| `pgd3` |") == 2  # its own accuracies, not the other trial's
    assert "class_accuracy" not in text  # a row for each class


def fogged(rows: pd.DataFrame) -> list[str]:
    """The head of the table of corruptions, and its row for fog."""
    shares = rows[rows["metric"] == "accuracy"]
    by_severity = [
        shares.loc[shares["severity"] == severity, "value"].iloc[0] for severity in (1, 5)
    ]
    over_all = shares[shares["severity"].isna()].iloc[0]
    relative = rows.loc[rows["metric"] == "relative_accuracy", "value"].iloc[0]
    head = "| corruption | severity 1 | severity 5 | all | low | high | relative_accuracy |"
    values = [*by_severity, *over_all[["value", "low", "high"]], relative]
    return [head, f"| `fog` | {' | '.join(f'{value:.4f}' for value in values)} |"]


def test_a_model_that_draws_is_said_to(store: Store, tmp_path: Path) -> None:
    text = write(store, tmp_path / "out", trial=QUIET).card.read_text()
    assert "**Its answers are random.**" in text
    assert "**Reasons to doubt these numbers**" in text
    assert "randomised output: two passes differ" in text
    with pytest.raises(InputError, match=r"draws noise at every pass.*--noise off"):
        write(store, tmp_path / "refused", "onnx", QUIET)
    assert not (tmp_path / "refused").exists()


def test_without_its_noise_it_is_another_model_and_its_accuracy_is_counted(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write(store, tmp_path / "out", "onnx", QUIET, noise="off").card.read_text()
    for said in (
        "**Its noise was taken away.**",
        "**These numbers are not this file's.**",
        "This file, counted when",
    ):
        assert said in text, said
    test, model = digits(QUIET).test, load_model(store.location, QUIET.trial_id, noise="off")
    accuracy = float((model(to_unit(test.images)).argmax(1) == test.labels).float().mean())
    assert f"| test | {accuracy:.4f} |" in text.partition("With its noise")[0]
    assert (
        told(store, "--noise", "off", "--out", str(tmp_path / "again"), trial_id=QUIET.trial_id)
        == 0
    )
    assert f"test {accuracy:.4f}" in capsys.readouterr().out
    assert load_model(tmp_path / "again").noise == "off"


def test_the_card_calls_an_evaluation_as_the_trial_s_sweep_does_now(
    store: Store, tmp_path: Path
) -> None:
    rows = Results(store.location).robustness(where=[("label", "==", "pgd3")])
    write_labels(store, "<script>", {rows["evaluation_id"].iloc[0]: "renamed"})
    text = write(store, tmp_path / "renamed").card.read_text()
    store.delete(labels_file("<script>"))
    assert "`renamed`" in text
    assert "`pgd3`" not in text


def test_a_card_without_evaluations_and_data_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = store_in(tmp_path / "results")
    do(experiment(), there)
    do(QUIET, there)

    def missing(*_: Any) -> Any:
        raise InputError("no such data")

    monkeypatch.setattr("kdray.data.Digits.load", missing)
    written = write(there, tmp_path / "out", trial=experiment())
    text = written.card.read_text()
    assert set(written.differences) == {"64 random images"}
    assert "Nothing was measured" in text
    assert "is not known here: the data were not there" in text
    assert "| – | – | not known here |" in text
    text = write(there, tmp_path / "quiet", "onnx", QUIET, noise="off").card.read_text()
    assert "How accurate this file is was not counted" in text


def test_a_file_that_answers_differently_is_not_left(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(_: Path) -> Any:
        def answer(images: Tensor) -> Tensor:
            return load_model(store.location, STUDENT.trial_id)(images) + 0.01 * torch.eye(10)[0]

        return answer

    monkeypatch.setitem(FORMATS, "safetensors", FORMATS["safetensors"]._replace(read=wrong))
    with pytest.raises(Disagreement, match=r"on 64 random images the logits differ by up to 0\.0"):
        write(store, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert told(store, "--out", str(tmp_path / "out")) == 1
    assert "nothing was written" in capsys.readouterr().err


def test_what_is_there_is_replaced_only_if_it_is_an_export(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write(store, out)
    first.card.write_text("mine")
    with pytest.raises(InputError, match="is there already; --force replaces it"):
        write(store, out)
    assert first.card.read_text() == "mine"
    write(store, out, "torch-export", force=True)
    assert {path.name for path in out.iterdir()} == {"README.md", "model.pt2"}
    (out / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"also holds thesis\.tex; --force replaces only"):
        write(store, out, force=True)
    with pytest.raises(InputError, match="is no folder"):
        write(store, out / "thesis.tex", force=True)
    assert (out / "thesis.tex").exists()
    assert list(tmp_path.iterdir()) == [out]


def told(store: Store, *options: str, trial_id: str = STUDENT.trial_id) -> int:
    arguments = ["export", store.location, trial_id, "--data", str(NOWHERE), *options]
    return execute(build_parser().parse_args(arguments))


def test_the_command_says_how_much_differs_and_where_it_is(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(store, trial_id=STUDENT.trial_id[:6]) == 0
    folder = tmp_path / f"{STUDENT.trial_id}-safetensors"
    assert capsys.readouterr().out.splitlines() == [
        "read back and compared: the logits differ by at most 0 on 64 random images, 0 on "
        "60 test images (allowed: 0.0001)",
        str(folder / "model.safetensors"),
        str(folder / "README.md"),
    ]
    with pytest.raises(InputError, match="no trial 'nonsense'"):
        told(store, trial_id="nonsense")


def test_a_card_for_the_hub_begins_with_what_the_hub_reads(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path / "out", "huggingface")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    empty, front, text = card.split("---\n", 2)
    assert empty == ""
    assert text.strip().startswith("# ")
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "kdray"
    assert metadata["pipeline_tag"] == "image-classification"
    (model,) = metadata["model-index"]
    results = {result["dataset"]["split"]: result for result in model["results"]}
    assert set(results) == {"test", "val"}
    row = Results(store.location).trials().set_index("trial_id").loc[STUDENT.trial_id]
    for split, result in results.items():
        assert result["task"]["type"] == "image-classification"
        accuracy = result["metrics"][0]
        assert accuracy["type"] == "accuracy"
        assert accuracy["value"] == pytest.approx(row[f"{split}_accuracy"], abs=1e-6)
    assert "&id" not in front


def test_numbers_for_the_hub_say_what_they_are_of(store: Store) -> None:
    rows = [
        {"label": "noise", "dataset": "digits", "sigma": 0.05, "value": 0.9},
        {"label": "noise", "dataset": "digits", "sigma": 0.3, "value": 0.4},
        {"label": "elsewhere", "dataset": "usps", "value": 0.6},
    ]
    same = {"metric": "accuracy", "split": "test", "evaluation": "gaussian_noise"}
    made = [{**same, "evaluation_id": row["label"], **row} for row in rows]
    found = Results(store.location)
    frame = pd.DataFrame(made).reindex(columns=found.robustness().columns)
    front = front_matter(find(found, STUDENT.trial_id), frame)
    results = yaml.safe_load(front.strip("-\n"))["model-index"][0]["results"]
    of = {
        (result["dataset"]["name"], metric["name"]): metric["value"]
        for result in results
        for metric in result["metrics"]
        if metric["name"] != "Accuracy"
    }
    assert of == {
        ("digits", "noise.accuracy[sigma=0.05]"): 0.9,
        ("digits", "noise.accuracy[sigma=0.3]"): 0.4,
        ("usps", "elsewhere.accuracy"): 0.6,
    }


def test_the_command_offers_every_format() -> None:
    with pytest.raises(InputError) as raised:
        build_parser().parse_args(["export", "results", "3f", "--format", "nonsense"])
    assert all(f"'{name}'" in str(raised.value) or name in str(raised.value) for name in FORMATS)
