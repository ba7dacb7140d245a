"""Our numbers of the smoothed models beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import smoothed_models as script
from kdray.report import Figure, Missing, Table
from kdray.report.papers.script import drawn
from papers.smoothed_models.models import ADVERSARIAL, DISTILLATION
from tests.analysis.made import APART, Sweeps, cells

STEPS = range(1, 11)


def smoothing(aggregate: str, samples: int) -> str:
    """As the parameters of an evaluation say it: the default aggregate is left out."""
    told = {
        "samples": samples,
        **({} if aggregate == "soft_prediction" else {"aggregate": aggregate}),
    }
    return json.dumps({"smoothing": told})


def attack(
    made: Sweeps, trials: list[str], value: float, parameters: str = "{}", **fields: object
) -> None:
    how = {
        "norm": "linf",
        "epsilon": 8 / 255,
        "steps": 10,
        "restarts": 1,
        "samples": 1,
        "examples": 100,
        **fields,
    }
    made.numbers_of(
        trials, f"pgd {parameters} {fields}", "pgd", value, evaluation_parameters=parameters, **how
    )


def sweep(made: Sweeps, name: str) -> dict[str, list[str]]:
    """A teacher of one seed, students of both kinds of answer and one without a teacher."""
    found = {"teacher": made.point(name, 0, 0.5, role="teacher", seeds=[0])}
    for point, aggregate in enumerate(("prediction", "soft_prediction")):
        found[aggregate] = made.point(
            name,
            point,
            0.8 + point / 10,
            case="distilled",
            supervision__smoothing__aggregate=aggregate,
        )
        for samples, value in ((32, 0.1), (512, 0.6 + point / 10)):
            told = smoothing(aggregate, samples)
            made.numbers_of(
                found["teacher"],
                f"clean {told}",
                "clean",
                value,
                evaluation_parameters=told,
                examples=100,
            )
    found["no_teacher"] = made.point(name, 2, 0.7, case="no_teacher")
    for trials in found.values():
        made.learning(trials, 0.1, 0.2)
    return found


def transferred(
    made: Sweeps,
    source: str,
    target: str,
    value: float,
    epsilon: float = 8 / 255,
    parameters: str = "{}",
) -> None:
    """Accuracy falls by a hundredth with every step, to ``value`` at the tenth."""
    for step in STEPS:
        made.number(
            target,
            f"by_step {epsilon} {parameters}",
            "transfer",
            value + (10 - step) / 100,
            source_trial_id=source,
            norm="linf",
            epsilon=epsilon,
            steps=step,
            examples=100,
            evaluation_parameters=parameters,
        )


@pytest.fixture
def made(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path / "results")


def test_table_1_takes_the_teacher_with_the_most_passes(made: Sweeps) -> None:
    sweep(made, DISTILLATION)
    table = script.table_1(made.snapshot())
    teacher = cells(table, "Smooth soft prediction smoothing")
    assert teacher["Clean, %"].mean == pytest.approx(70)
    assert teacher["Clean, % (published)"] == 88.53
    assert "(512 passes)" in table.caption


def test_table_1_stands_beside_what_is_printed(made: Sweeps) -> None:
    sweep(made, DISTILLATION)
    table = script.table_1(made.snapshot())
    student = cells(table, "KD prediction smoothing")
    assert student["Clean, %"] == pytest.approx((80, 100 * APART / 2**0.5, 2))
    assert (student["Clean, % (published)"], student["n"]) == (91.21, 2)
    assert student["Trials"] == "student, smoothed-distillation, distilled"
    assert "CIFAR-10, 1 to 2 seeds" in table.caption
    alone = table.to_markdown().splitlines()[-1]
    assert alone.startswith("| No teacher | 70.00 ± 1.41 | – | 2 |")


def test_table_2_attacks_the_teacher_as_it_is_smoothed_and_the_student_as_it_is(
    made: Sweeps,
) -> None:
    trials = sweep(made, ADVERSARIAL)
    attack(made, trials["teacher"], 0.99)
    attack(made, trials["teacher"], 0.5, smoothing("prediction", 512))
    attack(made, trials["prediction"], 0.3)
    attack(made, trials["prediction"], 0.9, epsilon=2 / 255)
    attack(made, trials["prediction"], 0.35, steps=3)
    table = script.table_2(made.snapshot())
    teacher, student = (cells(table, f"{who} prediction smoothing") for who in ("Smooth", "KD"))
    assert (teacher["PGD, %"].mean, teacher["PGD, % (published)"]) == (50, 63.67)
    assert (student["PGD, %"].mean, student["PGD, % (published)"]) == (30, 46)
    assert cells(table, "Smooth soft prediction smoothing")["PGD, %"] is None
    assert "10 steps" in table.caption


def test_table_3_pairs_attacked_and_target(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)
    teacher = trials["teacher"][0]
    for student in trials["prediction"]:
        transferred(made, student, teacher, 0.4)
        transferred(made, teacher, student, 0.7)
        transferred(made, teacher, student, 0.75, parameters=smoothing("prediction", 512))
    transferred(made, trials["soft_prediction"][0], teacher, 0.9)
    table = script.table_3(made.snapshot())
    for row, value, clean in (
        ("KD student on CNI", 40, 50),
        ("CNI on KD student", 70, 80),
        ("Smoothed CNI on KD student", 75, 80),
    ):
        cell = cells(table, row)
        assert (cell["PGD, %"].mean, cell["Clean, %"].mean) == (
            pytest.approx(value),
            pytest.approx(clean),
        )
    assert cells(table, "Smoothed CNI on Smoothed CNI")["PGD, %"] is None
    assert "not the Smooth model of tables 1 and 2" in table.caption


def test_students_are_not_attacked_for_each_other(made: Sweeps) -> None:
    one, other = sweep(made, ADVERSARIAL)["prediction"]
    transferred(made, one, one, 0.1)
    transferred(made, one, other, 0.9)
    (figure, *missing) = script.figures_4_to_6(made.snapshot())
    assert isinstance(figure, Figure)
    drawn = figure.figure.axes[0].lines[0].get_ydata()
    assert drawn[-1] == pytest.approx(10)
    assert all(isinstance(each, Missing) for each in missing)


def test_bars_over_pairs_of_models_are_said_to_be(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)
    for student in trials["prediction"]:
        transferred(made, student, student, 0.3)
        transferred(
            made, student, trials["teacher"][0], 0.4 + (student == trials["prediction"][0]) / 10
        )
    snapshot = made.snapshot()
    figure, table = next(iter(script.figures_4_to_6(snapshot))), script.table_3(snapshot)
    told = (
        "± one standard deviation over the pairs of attacked model and target (2; the seeds "
        "counted are the targets')."
    )
    assert told in figure.caption
    assert told in table.caption


def test_steps_of_the_own_attack_do_without_transfer(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)["prediction"]
    for step in STEPS:
        made.numbers_of(
            trials,
            "pgd steps",
            "pgd",
            0.5,
            norm="linf",
            epsilon=8 / 255,
            steps=step,
            examples=9,
            evaluation_parameters="{}",
        )
    figure = next(iter(script.figures_4_to_6(made.snapshot())))
    assert isinstance(figure, Figure)
    assert figure.figure.axes[0].get_title(loc="left") == "ε = 8/255"
    (table,) = drawn(script.table_3, made.snapshot())
    assert isinstance(table, Missing)
    assert table.reason == "nothing of what Table 3 compares was measured"


def test_what_is_missing_says_the_command(made: Sweeps, tmp_path: Path) -> None:
    sweep(made, ADVERSARIAL)
    made.written()
    assert script.main([str(made.path), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "README.md").read_text()
    assert "no trained students of the sweep smoothed-distillation" in page
    assert "kdray evaluate RESULTS --suite sweeps/suites/smoothed_models.yaml" in page
    assert "training.monitor" in page


def test_accuracy_by_epoch_clean_and_perturbed(made: Sweeps) -> None:
    for aggregate, trials in sweep(made, ADVERSARIAL).items():
        for epoch, value in ((1, 0.3), (2, 0.4)):
            if aggregate != "teacher":
                made.numbers_of(
                    trials,
                    "pgd10_val",
                    "pgd",
                    value,
                    split="val",
                    epoch=epoch,
                    epsilon=8 / 255,
                    steps=10,
                    examples=50,
                )
    figures = list(script.figures_2_and_3(made.snapshot()))
    assert [figure.name for figure in figures] == ["figure_2", "figure_3"]
    assert isinstance(figures[0], Figure)
    clean, perturbed = figures[0].figure.axes
    assert list(clean.lines[0].get_ydata()) == pytest.approx([10, 20])
    assert list(perturbed.lines[0].get_ydata()) == pytest.approx([30, 40])
    assert 46 in [line.get_ydata()[0] for line in perturbed.lines]
    assert "10 steps, 50 images" in figures[0].caption


def test_results_without_trials_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Sweeps(tmp_path).written()
    assert script.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no trained students here" in capsys.readouterr().err


def test_one_attack_for_all_models_of_table_2(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)
    students = [*trials["prediction"], *trials["soft_prediction"], *trials["no_teacher"]]
    attack(made, students, 0.3)
    told = {"smoothing": {"samples": 512, "aggregate": "prediction"}}
    attack(made, trials["teacher"], 0.5, json.dumps({**told, "examples": 10}), examples=10)
    for stated, fields in (
        ({"loss": "margin"}, {}),
        ({"iterate": "any"}, {}),
        ({}, {"step_size": 1 / 255}),
        ({"examples": 20}, {"examples": 20}),
    ):
        attack(made, students[:1], 0.9, json.dumps(stated), **fields)
    attack(made, trials["teacher"], 0.9, json.dumps({**told, "loss": "margin"}))
    (table,) = drawn(script.table_2, made.snapshot())
    assert isinstance(table, Table)
    assert cells(table, "KD prediction smoothing")["PGD, %"].mean == pytest.approx(30)
    assert cells(table, "Smooth prediction smoothing")["PGD, %"].mean == pytest.approx(50)
    assert "attacked images: Smooth prediction smoothing 10, KD" in table.caption
    assert "the one that most models have" in table.caption


def test_steps_are_of_one_attack(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)
    teacher = trials["teacher"][0]
    told = json.dumps({"name": "transfer", "attack": {"name": "pgd", "loss": "margin"}})
    one, other = trials["prediction"]
    transferred(made, one, teacher, 0.9, parameters=told)
    for student in (one, other):
        transferred(made, student, teacher, 0.4)
    (table,) = drawn(script.table_3, made.snapshot())
    assert cells(table, "KD student on CNI")["PGD, %"].mean == pytest.approx(40)


def test_one_attack_is_drawn_by_epoch(made: Sweeps) -> None:
    for aggregate, trials in sweep(made, ADVERSARIAL).items():
        if aggregate == "teacher":
            continue
        for label, value, steps, on in (("ten", 0.3, 10, trials), ("two", 0.9, 2, trials[:1])):
            how = {"split": "val", "epoch": 1, "epsilon": 8 / 255, "examples": 50}
            made.numbers_of(on, label, "pgd", value, steps=steps, **how)
    figure, _ = drawn(script.figures_2_and_3, made.snapshot())
    assert isinstance(figure, Figure)
    assert list(figure.figure.axes[1].lines[0].get_ydata()) == pytest.approx([30])
    assert "10 steps, 50 images" in figure.caption


def test_learning_curves_of_several_points_are_not_averaged(made: Sweeps) -> None:
    sweep(made, DISTILLATION)
    how = {"supervision__smoothing__aggregate": "prediction", "method__temperature": 9.0}
    made.learning(made.point(DISTILLATION, 7, 0.2, case="distilled", **how), 0.1)
    (missing,) = drawn(script.figure_1, made.snapshot())
    assert isinstance(missing, Missing)
    assert "they differ in method.temperature" in missing.reason


def test_epochs_of_several_stages_are_no_one_line(made: Sweeps) -> None:
    for trials in sweep(made, DISTILLATION).values():
        for epoch in (1, 2, 3):
            row = {"trial_id": trials[0], "stage": "hint", "epoch": epoch, "val_accuracy": 0.9}
            made.epochs.append(row)
    figure = script.figure_1(made.snapshot())
    line = figure.figure.axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2], pytest.approx([10, 20]))


def test_passes_under_attack_are_said_where_they_are_others(made: Sweeps) -> None:
    trials = sweep(made, ADVERSARIAL)
    attack(made, trials["teacher"], 0.5, smoothing("prediction", 8))
    assert "teacher (512 passes, under attack 8)" in script.table_2(made.snapshot()).caption
    for student in trials["prediction"]:
        transferred(made, student, trials["teacher"][0], 0.4)
        transferred(made, student, trials["teacher"][0], 0.4, parameters=smoothing("prediction", 8))
    table = script.table_3(made.snapshot())
    assert "Smoothed CNI is of 512 passes, under attack 8" in table.caption


def test_each_strength_says_its_images(made: Sweeps) -> None:
    (student, *_) = sweep(made, ADVERSARIAL)["prediction"]
    for epsilon, examples in ((4 / 255, 100), (8 / 255, 1000)):
        transferred(made, student, student, 0.3, epsilon=epsilon)
        for row in made.numbers:
            if row.get("epsilon") == epsilon:
                row["examples"] = examples
    figure = next(iter(script.figures_4_to_6(made.snapshot())))
    assert isinstance(figure, Figure)
    assert "on 100 (ε 4/255) and 1000 (ε 8/255) test images" in figure.caption
