"""Every figure of Noisy Collaboration is drawn from what was measured, and says what was not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.lines import Line2D

import noisy_collaboration as script
from kdray.report import Draw, Figure, Snapshot, Table
from kdray.report.papers.script import drawn
from papers.noisy_collaboration import accuracies, natural_robustness, studies
from papers.noisy_collaboration.printed import EVALUATE, printed_heat_map
from tests.analysis.rows import Folder

SWEEPS = (
    "soft-randomization",
    "exponential-family",
    "signal-dependent",
    "fickle-teacher",
    "random-swapping",
    "label-corruption",
)


def measure(folder: Folder, trial: str, accuracy: float) -> None:
    """Everything that the figures show of one model."""
    folder.pgd(trial, accuracy / 2)
    folder.number(trial, "cinic_imagenet", "out_of_distribution", accuracy - 0.2, dataset="cinic10")
    for kind in natural_robustness.ALL_CORRUPTIONS:
        folder.number(
            trial,
            "corruptions",
            "corruptions",
            accuracy,
            metric="relative_accuracy",
            corruption=kind,
        )


def noise(**fields: object) -> str:
    return json.dumps([fields])


def fill(folder: Folder, seeds: Iterable[int] = (0, 1), *, measured: bool = True) -> None:
    """Some points of all the paper's sweeps, as kdray leaves them."""

    def trained(sweep: str, point: int, seed: int, accuracy: float, **fields: object) -> None:
        trial = folder.trial(sweep, point, seed, test_accuracy=accuracy + seed / 100, **fields)
        if measured:
            measure(folder, trial, accuracy)

    for seed in seeds:
        for point, sigma in enumerate((0, 0.05)):
            swept = {"noise.input.sigma": sigma}
            trained(
                "soft-randomization",
                point,
                seed,
                0.9 - sigma,
                case="soft_randomization",
                swept=swept,
            )
            trained(
                "soft-randomization", 2 + point, seed, 0.8 - sigma, case="no_teacher", swept=swept
            )
            trained(
                "exponential-family",
                point,
                seed,
                0.7,
                swept={**swept, "noise.input.name": "laplace"},
            )
            trained(
                "signal-dependent",
                point,
                seed,
                0.9,
                case="per_logit",
                supervision__noise=noise(sigma=sigma),
            )
            trained(
                "fickle-teacher", point, seed, 0.9, case=f"d{point}", teacher__model__dropout=sigma
            )
            trained("fickle-teacher", point, seed, 0.95, role="teacher", model__dropout=sigma)
            trained(
                "label-corruption", point, seed, 0.9, case="corrupted_s", noise__labels__rate=sigma
            )
            trained(
                "label-corruption",
                point,
                seed,
                0.85,
                role="teacher",
                noise__labels__rate=sigma or None,
            )
        trained(
            "signal-dependent",
            2,
            seed,
            0.9,
            case="per_sample",
            supervision__noise=noise(sigma=0.5, per="sample"),
        )
        trained("random-swapping", 0, seed, 0.9, case="no_swapping")
        swap = noise(name="swap", probability=0.1, threshold=0.05)
        trained("random-swapping", 1, seed, 0.91, case="top2", supervision__noise=swap)
        trained("random-swapping", 2, seed, 0.92, case="all", supervision__noise=swap)
        trained(
            "label-corruption", 2, seed, 0.8, case="corrupted_t", teacher__noise__labels__rate=0.05
        )
        both = {"noise__labels__rate": 0.05, "teacher__noise__labels__rate": 0.05}
        trained("label-corruption", 3, seed, 0.8, case="corrupted_ts", **both)
        trained("label-corruption", 4, seed, 0.9, case="fixed", noise__labels__rate=0.05)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = Folder(tmp_path_factory.mktemp("noisy") / "results")
    fill(folder)
    return Snapshot(folder.written())


@pytest.mark.parametrize("draw", script.DRAWS, ids=lambda draw: draw.__name__)
def test_every_figure_is_drawn_with_data_seeds_and_source(draw: Draw, snapshot: Snapshot) -> None:
    (made,) = drawn(draw, snapshot)
    assert isinstance(made, Figure | Table)
    assert "CIFAR-10, 2 seeds" in made.caption
    assert "Noisy Collaboration, " in made.caption or draw is script.exponential
    assert "Not measured" not in made.caption
    if isinstance(made, Figure) and made.name in ("figure_1", "figure_4", "figure_8"):
        assert "PGD-20, ℓ∞, ε = 8/255, step size 2/255, worst of 5 starts" in made.caption


def test_nothing_corrupted_is_the_first_point_of_every_case_with_a_teacher(
    snapshot: Snapshot,
) -> None:
    study = studies.label_corruption(snapshot)
    at = study.trials.groupby("group")["x"].agg(["min", "max"])
    assert (
        at.loc[["corrupted_s", "corrupted_t", "corrupted_ts", "fixed"]].to_numpy().tolist()
        == [[0, 5]] * 4
    )
    assert accuracies.accuracies(snapshot, study.of("fixed"), "pgd")["x"].tolist().count(0) == 2


def test_a_logit_noise_and_a_swapping_are_found_in_the_description_of_the_supervision(
    snapshot: Snapshot,
) -> None:
    assert sorted(studies.signal_dependent(snapshot).trials["x"].unique()) == [0, 0.05, 0.5]
    swapping = studies.random_swapping(snapshot)
    assert swapping.names == {
        "top2|0.05": "top 2, threshold 0.05",
        "all|0.05": "all, threshold 0.05",
    }
    assert set(swapping.trials["x"]) == {0.1}
    assert set(swapping.reference["case"]) == {"no_swapping"}


def test_published_numbers_stand_beside_ours(snapshot: Snapshot) -> None:
    (table,) = drawn(script.numbers_of_the_text, snapshot)
    assert isinstance(table, Table)
    rows = table.frame.set_index("model")
    assert rows.loc["Soft Randomization, σ 0.05", "published (%)"] == 33.85
    assert rows.loc["Soft Randomization, σ 0.05", "ours (%)"].mean == pytest.approx(42.5)
    assert rows.loc["teacher, 5 % wrong labels", "published (%)"] == 10.89
    (figure,) = drawn(script.figure_4, snapshot)
    assert isinstance(figure, Figure)
    stars = [
        line.get_xydata().tolist()
        for line in figure.figure.axes[0].lines
        if line.get_label() == "published"
    ]
    assert stars == [[[0.05, 33.85]], [[0.05, 3.53]]]


def test_step_sizes_of_some_models_only_are_left_out_and_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    fill(folder)
    for sweep in ("soft-randomization", "random-swapping"):
        folder.pgd(f"{sweep}-student-0-0", 0.01, step_size=1 / 255, label="small")
    snapshot = Snapshot(folder.written())
    for draw in (script.figure_4, script.figure_9, script.numbers_of_the_text):
        (made,) = drawn(draw, snapshot)
        assert isinstance(made, Figure | Table)
        assert "left out: step size 1/255, of some models only" in made.caption


@pytest.mark.parametrize(
    ("measured", "label"),
    [
        (["cinic10", "svhn"], "Accuracy on CINIC-10's\nImageNet images (%)"),
        (["svhn"], "Accuracy on svhn (%)"),
    ],
)
def test_the_other_images_are_called_what_they_are(
    tmp_path: Path, measured: list[str], label: str
) -> None:
    folder = Folder(tmp_path / "results")
    fill(folder, measured=False)
    for name in measured:
        data = {"name": name} | ({"source": "imagenet"} if name == "cinic10" else {})
        told = json.dumps({"name": "out_of_distribution", "data": data})
        for trial in folder.trials:
            how = {"dataset": name, "evaluation_parameters": told}
            folder.number(trial["trial_id"], name, "out_of_distribution", len(name) / 10, **how)
    (figure,) = drawn(script.figure_3, Snapshot(folder.written()))
    assert isinstance(figure, Figure)
    other = figure.figure.axes[1]
    assert other.get_ylabel() == label
    assert other.lines[0].get_ydata()[0] == pytest.approx(10 * len(measured[0]))


def test_the_printed_heat_map_is_whole_and_in_its_order() -> None:
    printed = printed_heat_map()
    assert printed is not None
    assert list(printed.index) == ["0", "0.05", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert set(printed) == set(natural_robustness.ALL_CORRUPTIONS)
    assert printed.loc["0", "gaussian_noise"] == pytest.approx(0.428)
    assert printed.loc["0.5", "saturate"] == pytest.approx(0.833)
    assert printed.notna().all(axis=None)


def test_the_heat_map_shows_our_numbers_by_noise_above_the_printed_ones(snapshot: Snapshot) -> None:
    (figure,) = drawn(script.figure_5, snapshot)
    assert isinstance(figure, Figure)
    ours, alone, printed = figure.figure.axes[:3]
    assert [text.get_text() for text in ours.texts] == ["90.0"] * 19 + ["85.0"] * 19
    assert [label.get_text() for label in alone.get_yticklabels()] == ["0", "0.05"]
    assert printed.texts[0].get_text() == "42.8"


def test_official_images_come_before_generated_ones_where_they_are_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    for seed, kinds in ((0, ("corruptions", "official_corruptions")), (1, ("corruptions",))):
        trial = folder.trial("s", 0, seed)
        for kind in kinds:
            folder.number(trial, kind, kind, 0.5, metric="relative_accuracy", corruption="fog")
    snapshot = Snapshot(folder.written())
    both = snapshot.students("s")
    assert set(natural_robustness.relative(snapshot, both)["evaluation"]) == {"corruptions"}
    assert set(natural_robustness.relative(snapshot, both[both["seed"].eq(0)])["evaluation"]) == {
        "official_corruptions"
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """One seed, and no evaluation but the accuracy that training leaves."""
    folder = Folder(tmp_path_factory.mktemp("bare") / "results")
    fill(folder, seeds=[0], measured=False)
    return Snapshot(folder.written())


def test_what_was_not_measured_is_said_with_the_command_that_measures_it(bare: Snapshot) -> None:
    (first,), (heat,), (numbers,) = (
        drawn(d, bare) for d in (script.figure_1, script.figure_5, script.numbers_of_the_text)
    )
    assert isinstance(first, Figure)
    assert (
        f"Not measured: out-of-distribution accuracy and accuracy under PGD ({EVALUATE})"
        in first.caption
    )
    assert "1 seed. No error bars" in first.caption
    assert [text.get_text() for text in first.figure.axes[2].texts] == [
        "not measured:\nsee the caption"
    ]
    assert EVALUATE in heat.reason
    assert EVALUATE in numbers.reason


def test_without_a_sweep_its_figures_name_the_file_that_trains_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "results")
    folder.trial("quickstart", 0, 0, test_accuracy=0.5)
    folder.written()
    assert script.main([str(folder.path), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    for sweep in SWEEPS:
        file = f"sweeps/noisy_collaboration/{sweep.replace('-', '_')}.yaml"
        assert f"kdray run {file}" in told
        assert Path(file).exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]
    assert pd.Series(told.splitlines()).str.contains("kdray run").all()


def test_it_ends_with_files_and_a_page(
    snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "DRAWS", (script.figure_3, script.numbers_of_the_text))
    assert script.main([snapshot.results.store.location, "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "figure_3.pdf",
        "figure_3.svg",
        "figure_3.png",
        "numbers_of_the_text.csv",
        "numbers_of_the_text.tex",
        "README.md",
    }


def test_what_else_a_sweep_sweeps_has_lines_of_its_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    for point, temperature in enumerate((1.0, 8.0)):
        trial = folder.trial(
            "signal-dependent",
            point,
            0,
            case="per_logit",
            test_accuracy=0.2 + point / 2,
            supervision__noise=noise(sigma=0.1),
            swept={"method.temperature": temperature},
        )
        measure(folder, trial, 0.2 + point / 2)
    (figure,) = drawn(script.figure_1, Snapshot(folder.written()))
    assert isinstance(figure, Figure)
    lines = {line.get_label(): list(line.get_ydata()) for line in drawn_lines(figure)}
    assert lines == {
        "one δ per logit, method.temperature = 1": pytest.approx([20]),
        "one δ per logit, method.temperature = 8": pytest.approx([70]),
    }
    assert "1 seed. No error bars" in figure.caption


def drawn_lines(figure: Figure) -> list[Line2D]:
    handles, labels = figure.figure.axes[0].get_legend_handles_labels()
    for handle, label in zip(handles, labels, strict=True):
        handle.lines[0].set_label(label)
    return [handle.lines[0] for handle in handles]


def test_seeds_are_counted_where_they_were_measured(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "results")
    for seed in range(5):
        trial = folder.trial(
            "soft-randomization",
            0,
            seed,
            case="no_teacher",
            test_accuracy=0.5,
            swept={"noise.input.sigma": 0.1},
        )
        if seed < 2:
            measure(folder, trial, 0.5)
    snapshot = Snapshot(folder.written())
    (unseen,), (attacked,) = drawn(script.figure_3, snapshot), drawn(script.figure_4, snapshot)
    assert isinstance(unseen, Figure)
    assert isinstance(attacked, Figure)
    assert "CIFAR-10, 2 to 5 seeds." in unseen.caption
    assert "CIFAR-10, 2 seeds." in attacked.caption
