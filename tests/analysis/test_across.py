"""Robustness and its price, one data set and one attack at a time, against the plain student of the
same network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import across
from kdray.report import Figure, Missing, Snapshot, Table
from kdray.report.papers.script import drawn
from papers.across.students import in_words
from tests.analysis.rows import Folder


def student(
    folder: Folder,
    sweep: str,
    point: int,
    seed: int,
    clean: float,
    robust: float,
    seconds: float,
    **fields: object,
) -> str:
    given = {"method__name": "cross_entropy", **fields}
    trial = folder.trial(sweep, point, seed, test_accuracy=clean, train_seconds=seconds, **given)
    folder.pgd(trial, robust)
    return trial


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A plain student, a robust one, a distilled one, one of another network without a plain one,
    one of other data."""
    folder = Folder(tmp_path / "results")
    for seed in range(2):
        student(folder, "a", 0, seed, 0.90 + seed / 100, 0.10, 100)
        student(folder, "a", 1, seed, 0.80, 0.30, 150, swept={"noise.input.sigma": 0.2})
        student(folder, "b", 0, seed, 0.92, 0.105, 200, method__name="kd", case="kd")
        student(folder, "b", 1, seed, 0.70, 0.50, 300, model__name="mlp", noise__input__sigma=0.1)
        student(folder, "m", 0, seed, 0.99, 0.90, 10, data__name="mnist", noise__labels__rate=0.1)
    return folder


def test_data_sets_have_figures_of_their_own(folder: Folder) -> None:
    first, second = drawn(across.trade_off, Snapshot(folder.written()))
    assert isinstance(first, Figure)
    assert isinstance(second, Figure)
    assert (first.name, second.name) == ("trade_off_cifar10", "trade_off_mnist")
    assert "CIFAR-10, 2 seeds" in first.caption
    assert "CIFAR-10" not in second.caption
    shown = {
        str(c.get_label()): c.lines[0].get_xydata().ravel() for c in first.figure.axes[0].containers
    }
    assert shown["a"] == pytest.approx([90.5, 10, 80, 30])
    assert shown["b"] == pytest.approx([92, 10.5, 70, 50])
    (front,) = [line for line in first.figure.axes[0].lines if line.get_label() == "Pareto front"]
    assert front.get_xdata() == pytest.approx([70, 80, 92])


def test_attacks_are_not_mixed_in_a_panel_and_what_was_not_attacked_is_named(
    folder: Folder,
) -> None:
    other = folder.trial("c", 0, 0, test_accuracy=0.9)
    folder.number(
        other, "weak", "pgd", 0.6, norm="linf", epsilon=2 / 255, step_size=0.01, steps=7, restarts=1
    )
    folder.trial("d", 0, 0, test_accuracy=0.9)
    figure = drawn(across.trade_off, Snapshot(folder.written()))[0]
    assert isinstance(figure, Figure)
    titles = [axes.get_title("left") for axes in figure.figure.axes]
    assert titles == ["PGD-20, ℓ∞, ε = 8/255", "PGD-7, ℓ∞, ε = 2/255"]
    assert "Not attacked: d (kdray evaluate" in figure.caption


def test_the_price_is_against_the_plain_student_of_the_same_network(folder: Folder) -> None:
    found = drawn(across.prices, Snapshot(folder.written()))
    assert [each.name for each in found] == ["cost_cifar10", "cost_table_cifar10", "cost_mnist"]
    table = found[1]
    assert isinstance(table, Table)
    rows = table.frame.set_index(["sweep", "case", "swept"])
    best = rows.loc["a", "", "noise.input.sigma 0.2"]
    assert best["gained"] == pytest.approx(20)
    assert best["lost"] == pytest.approx(10.5)
    assert best["lost per point"] == pytest.approx(10.5 / 20)
    assert best["time, times"] == pytest.approx(1.5)
    assert best["seconds per point"] == pytest.approx(50 / 20)
    assert len(rows) == 3  # not the network without a plain student
    assert isinstance(found[2], Missing)
    assert "no plain student" in found[2].reason


def test_a_gain_within_the_noise_has_no_price_per_point(folder: Folder) -> None:
    table = drawn(across.prices, Snapshot(folder.written()))[1]
    assert isinstance(table, Table)
    distilled = table.frame.set_index("sweep").loc["b"]
    assert distilled["gained"] == pytest.approx(0.5)
    assert distilled[["lost per point", "seconds per point"]].isna().all()


@pytest.mark.parametrize(
    "fields",
    [
        {"noise__input__sigma": 0.1},
        {"noise__labels__rate": 0.1},
        {"supervision__noise": '[{"name": "swap", "probability": 0.5}]'},
        {"teacher__model__dropout": 0.2},
        {"method__name": "adversarial"},
        {"teacher__noise__labels__rate": 0.5},
        {"noise__input__name": "gaussian_snr", "noise__input__snr": 0.0},
        {"noise__labels__matrix": "[[1, 0], [0.5, 0.5]]"},
        {"model__weight_noise__name": "pni"},
        {"model__input_sigma": 0.1},
        {"teacher__model__input_sigma": 0.1},
        {"teacher__noise__input__name": "poisson"},
        {"teacher__method__name": "adversarial"},
        {"teacher__teacher__noise__labels__rate": 0.5},
    ],
)
def test_what_is_noisy_or_trained_otherwise_is_no_plain_student(
    fields: dict[str, object], tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "results")
    student(folder, "a", 0, 0, 0.9, 0.1, 100, **fields)
    silent = {
        "noise__input__sigma": 0.0,
        "noise__labels__rate": 0.0,
        "supervision__noise": '[{"sigma": 0.0}]',
    }
    student(folder, "a", 1, 0, 0.9, 0.1, 100, **silent)
    assert across.described(Snapshot(folder.written()))["plain"].tolist() == [False, True]


def test_a_student_that_begins_with_weights_is_not_compared_with_one_that_does_not(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path / "results")
    for point, fields in enumerate(({}, {"init__weights": "somebody.pt"})):
        student(folder, "a", point, 0, 0.9, 0.1, 100, **fields)
    first, second = across.described(Snapshot(folder.written()))["training"]
    assert first != second


def test_data_sets_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    for point, file in enumerate(("a.npz", "b.npz")):
        told = json.dumps({"data": {"name": "arrays", "file": file}})
        student(folder, file[0], point, 0, 0.9, 0.1, 100, data__name="arrays", experiment=told)
    found = drawn(across.trade_off, Snapshot(folder.written()))
    assert [(each.name[:-8], each.title.rpartition(" on ")[2]) for each in found] == [
        ("trade_off_arrays_file_a_npz_", "own arrays (file a.npz)"),
        ("trade_off_arrays_file_b_npz_", "own arrays (file b.npz)"),
    ]


def test_a_trial_of_two_points_is_shown_with_what_each_of_them_sweeps(folder: Folder) -> None:
    shared = folder.members[2]
    folder.members.append({**shared, "point": 7, "point_id": "7", "swept": '{"data.pad": 4}'})
    told = across.described(Snapshot(folder.written()))
    own = told[told["trial_id"].eq(shared["trial_id"])]
    assert own.set_index("point")["swept"].to_dict() == {
        shared["point"]: in_words(shared["swept"]),
        7: "data.pad 4",
    }


def test_the_points_of_the_front_are_listed(folder: Folder) -> None:
    table = drawn(across.on_the_front, Snapshot(folder.written()))[0]
    assert isinstance(table, Table)
    assert table.frame["sweep"].tolist() == ["b", "a", "b"]


def test_without_attacks_the_command_that_runs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "results")
    folder.trial("a", 0, 0, test_accuracy=0.9, method__name="kd")
    folder.written()
    assert across.main([str(folder.path), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert all(f"no student was attacked with PGD: {across.EVALUATE}" in line for line in told)


def test_the_plain_student_was_trained_alike_and_of_several_is_of_the_same_sweep(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path / "results")
    for sweep, epochs, clean in (("a", 100, 0.90), ("b", 200, 0.94), ("c", 200, 0.95)):
        student(
            folder,
            sweep,
            0,
            0,
            clean,
            0.10,
            100,
            training__epochs=epochs,
            training__monitor__every=epochs,
        )
        if sweep == "c":
            student(
                folder, sweep, 1, 0, 0.85, 0.30, 100, training__epochs=200, noise__input__sigma=0.2
            )
    student(
        folder,
        "d",
        0,
        0,
        0.84,
        0.30,
        100,
        training__epochs=200,
        training__monitor__every=7,
        noise__input__sigma=0.2,
    )
    student(folder, "e", 0, 0, 0.80, 0.30, 100, training__epochs=300, noise__input__sigma=0.2)
    student(
        folder,
        "f",
        0,
        0,
        0.80,
        0.30,
        100,
        training__epochs=100,
        data__examples=5,
        noise__input__sigma=0.2,
    )
    table = drawn(across.prices, Snapshot(folder.written()))[1]
    assert isinstance(table, Table)
    assert "the same network, data and training" in table.caption
    lost = table.frame.set_index("sweep")["lost"]
    assert lost["c"].max() == pytest.approx(10)
    assert lost["d"] == pytest.approx(10)  # of b and c the first
    assert not set(lost.index) & {"e", "f"}


ATOM, EPYC = ({"device": "cpu", "cpu": cpu, "threads": n} for cpu, n in (("Atom", 1), ("EPYC", 64)))


def test_a_price_in_time_is_computed_within_one_machine(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    noisy = {"noise__input__sigma": 0.2}
    for seed, (machine, plain, own) in enumerate(
        ((ATOM, 1000, 9900), (EPYC, 10, 20), (EPYC, 10, 20))
    ):
        student(folder, "a", 0, seed, 0.9, 0.1, plain, **machine)
        student(folder, "a", 1, seed, 0.8, 0.3, own, **noisy, **machine)
    student(folder, "a", 2, 0, 0.8, 0.3, 3000, **noisy, **ATOM)
    student(folder, "a", 3, 0, 0.8, 0.3, 30, **noisy, **{**EPYC, "threads": 8})
    figure, table = drawn(across.prices, Snapshot(folder.written()))
    assert isinstance(figure, Figure)
    assert isinstance(table, Table)
    paid = table.frame.sort_values("time, times")
    assert paid["time, times"].tolist()[:3] == pytest.approx([1, 2, 3])
    assert paid["time, times"].isna().tolist() == [False, False, False, True]
    assert paid["seconds per point"].dropna().tolist() == pytest.approx([0.5, 100])
    assert paid["machine"].tolist() == [
        "EPYC, 64 threads",
        "EPYC, 64 threads",
        "Atom, 1 thread",
        "",
    ]
    for each in (figure, table):
        assert "on the one machine that most seeds of both were trained on" in each.caption


def test_on_one_machine_nothing_is_said_of_it(folder: Folder) -> None:
    figure, table = drawn(across.prices, Snapshot(folder.written()))[:2]
    assert isinstance(figure, Figure)
    assert isinstance(table, Table)
    assert "machine" not in table.frame
    assert "machine" not in figure.caption


def test_step_sizes_of_some_students_only_are_left_out_and_named(folder: Folder) -> None:
    folder.pgd("a-student-0-0", 0.05, step_size=1 / 255, label="small")
    snapshot = Snapshot(folder.written())
    for draw in (across.trade_off, across.on_the_front, across.prices):
        first, other = (drawn(draw, snapshot)[number] for number in (0, -1))
        assert isinstance(first, Figure | Table)
        assert "step size 1/255, of some models only" in first.caption
        assert isinstance(other, Missing) or "step size 1/255" not in other.caption


def test_no_two_panels_share_a_title(folder: Folder) -> None:
    for seed in range(2):
        folder.number(
            f"a-student-0-{seed}",
            "one start",
            "pgd",
            0.2,
            norm="linf",
            epsilon=8 / 255,
            step_size=2 / 255,
            steps=20,
            restarts=1,
        )
    figure = drawn(across.trade_off, Snapshot(folder.written()))[0]
    assert isinstance(figure, Figure)
    titles = [axes.get_title("left") for axes in figure.figure.axes]
    assert titles == [f"PGD-20, ℓ∞, ε = 8/255, restarts {count}" for count in (5, 1)]
    table = drawn(across.on_the_front, Snapshot(folder.written()))[0]
    assert isinstance(table, Table)
    assert set(table.frame["attack"]) == set(titles)


def test_each_number_says_of_how_many_seeds_it_is(folder: Folder) -> None:
    folder.trials[2]["test_accuracy"] = None
    snapshot = Snapshot(folder.written())
    front = drawn(across.on_the_front, snapshot)[0]
    assert isinstance(front, Table)
    priced = drawn(across.prices, snapshot)[1]
    assert isinstance(priced, Table)
    for table in (front, priced):
        for _, row in table.frame.iterrows():
            seeds = 1 if row["case"] == "kd" else 2
            assert (row["n"], row["clean (%)"].n, row["robust (%)"].n) == (2, seeds, 2)
        assert "| 92.00 (n = 1) | 10.50 ± 0.00 |" in table.to_markdown()
