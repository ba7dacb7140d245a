"""The methods that everybody compares with: numbers of the sweeps in sweeps/baselines/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import baselines as script
from kdray.report import Figure, Missing, Table
from kdray.report.papers.script import drawn
from tests.analysis.made import APART, Sweeps, cells

PGD = {
    "norm": "linf",
    "epsilon": 8 / 255,
    "steps": 20,
    "restarts": 1,
    "samples": 1,
    "examples": 100,
}


@pytest.fixture
def made(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path / "results", "cifar100")


def test_losses_stand_beside_the_published_table(made: Sweeps) -> None:
    made.point(script.LOSSES, 0, 0.8, role="teacher", seeds=[0])
    made.point(script.LOSSES, 1, 0.725, case="student")
    made.point(script.LOSSES, 2, 0.74, case="dkd")
    made.point(script.LOSSES, 3, 0.7, case="mine")
    table = script.losses(made.snapshot())
    assert list(table.frame.iloc[:, 0]) == ["teacher", "student", "dkd", "mine"]
    dkd = cells(table, "dkd")
    spread = dkd["Test accuracy, %"]
    assert (spread.mean, dkd["n"]) == (pytest.approx(74), 2)
    assert spread.std == pytest.approx(100 * APART / 2**0.5)
    assert dkd["Test accuracy, % (published)"] == 76.32
    assert "Zhao et al. 2022" in table.caption


@pytest.mark.parametrize(
    "others",
    [
        [{"weights": "sha256:1"}, {"weights": "sha256:2"}],
        [{"model": {"name": "mlp"}}, {"model": {"name": "mlp", "version": 7}}],
    ],
)
def test_teachers_of_several_experiments_are_no_seeds_of_one(
    others: list[dict[str, object]], made: Sweeps
) -> None:
    """Their configuration may be the same: what differs has no column."""
    for number, (accuracy, experiment) in enumerate(zip((0.7, 0.9), others, strict=True)):
        told = json.dumps(experiment)
        made.point(script.LOSSES, number, accuracy, role="teacher", seeds=[number], experiment=told)
    made.point(script.LOSSES, 0, 0.74, case="dkd")
    frame = script.losses(made.snapshot()).frame.set_index("Method")
    assert list(frame.index) == ["teacher, point 0", "teacher, point 1", "dkd"]
    assert [cell.mean for cell in frame["Test accuracy, %"]] == pytest.approx([70, 90, 74])
    assert frame["n"].tolist() == [1, 1, 2]


def test_each_method_has_its_robust_accuracy_and_its_hours(made: Sweeps) -> None:
    for point, (case, value, seconds) in enumerate((("ard", 0.5, 7200.0), ("plain", 0.0, 3600.0))):
        trials = made.point(
            "robust-distillation", point, 0.8 - point / 10, case=case, train_seconds=seconds
        )
        made.numbers_of(trials, "pgd", "pgd", value, **PGD)
        if case == "ard":
            weak = {"norm": "linf", "epsilon": 2 / 255}
            made.numbers_of(trials, "autoattack", "autoattack", 0.45, examples=100, **weak)
            made.numbers_of(trials[:1], "few", "autoattack", 0.95, examples=10, **weak)
    drawings = list(script.robust_accuracy(made.snapshot()))
    table, missing = drawings
    assert isinstance(table, Table)
    assert isinstance(missing, Missing)
    assert "noise-or-adversarial" in missing.reason
    ard, plain = cells(table, "ard"), cells(table, "plain")
    (attack,) = [name for name in table.frame if str(name).startswith("PGD")]
    assert (ard[attack].mean, plain[attack].mean) == (pytest.approx(50), 0)
    assert "under AutoAttack, ℓ∞, ε = 2/255, 100 images (where it was" in table.caption
    assert ard["AutoAttack (%)"].mean == pytest.approx(45)
    assert plain["AutoAttack (%)"].mean != plain["AutoAttack (%)"].mean  # not measured
    assert (ard["hours"].mean, plain["hours"].mean) == (2, 1)
    figure, _ = script.trade_off(made.snapshot())
    assert isinstance(figure, Figure)
    assert "hours" in figure.caption


def test_seeds_are_counted_where_they_were_measured(made: Sweeps) -> None:
    for seed in range(2):
        trials = made.point(
            "robust-distillation", 0, 0.8, case="ard", seeds=[seed], train_seconds=9.0
        )
        if seed == 0:
            made.numbers_of(trials, "pgd", "pgd", 0.5, **PGD)
    table = next(iter(script.robust_accuracy(made.snapshot())))
    ard = cells(table, "ard")
    (attack,) = [name for name in table.frame if str(name).startswith("PGD")]
    assert (ard["clean (%)"].n, ard[attack].n) == (2, 1)


def test_step_sizes_of_some_students_only_are_left_out_and_named(made: Sweeps) -> None:
    trials = [*made.point("robust-distillation", 0, 0.8, case="ard", train_seconds=9.0)]
    made.numbers_of(trials, "pgd", "pgd", 0.5, step_size=2 / 255, **PGD)
    made.numbers_of(trials[:1], "small", "pgd", 0.4, step_size=1 / 255, **PGD)
    snapshot = made.snapshot()
    for draw in (script.robust_accuracy, script.trade_off):
        drawing = next(iter(draw(snapshot)))
        assert not isinstance(drawing, Missing)
        assert "step size 2/255, one start (left out: step size 1/255," in drawing.caption


ATOM, EPYC = ({"device": "cpu", "cpu": cpu, "threads": n} for cpu, n in (("Atom", 1), ("EPYC", 64)))


def test_hours_are_of_one_machine_and_the_captions_say_of_which(made: Sweeps) -> None:
    for seed, machine, seconds in ((0, ATOM, 360000.0), (1, EPYC, 3600.0), (2, EPYC, 7200.0)):
        trials = made.point(
            "robust-distillation",
            0,
            0.8,
            case="ard",
            seeds=[seed],
            train_seconds=seconds,
            **machine,
        )
        made.numbers_of(trials, "pgd", "pgd", 0.5, **PGD)
    snapshot = made.snapshot()
    table = next(iter(script.robust_accuracy(snapshot)))
    hours = cells(table, "ard")["hours"]
    assert (hours.mean, hours.n) == (1.5, 2)
    told = "own training, on the machine that most of them were trained on (EPYC, 64 threads; not "
    assert f"{told}on 1 other)" in table.caption
    figure = next(iter(script.trade_off(snapshot)))
    assert isinstance(figure, Figure)
    assert told in figure.caption
    assert figure.figure.axes[1].containers[0].lines[0].get_xdata() == pytest.approx([1.5])


def test_what_is_not_there_is_said(made: Sweeps) -> None:
    made.point("another", 0, 0.5)
    made.point("robust-distillation", 0, 0.5, case="ard")
    said = [
        drawing.reason
        for draw in script.DRAWS
        for drawing in drawn(draw, made.snapshot())
        if isinstance(drawing, Missing)
    ]
    assert len(said) == 5
    assert "no student of robust-distillation was attacked with PGD" in said
