"""What stands in one mean was measured alike, of the replicates of one point."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.report import (
    Missing,
    Snapshot,
    Table,
    a_line_for_each_point,
    by_data_set,
    of_one_evaluation,
    of_one_point,
    only,
)
from kdray.report.papers.comparable import Chosen
from kdray.report.papers.script import drawn
from tests.analysis.rows import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results")


def measured(
    folder: Folder, trials: list[str], label: str, value: float, snr: float = 10, **stated: Any
) -> None:
    told = json.dumps({"name": "signal_to_noise", "ratios": [snr], **stated})
    for trial in trials:
        folder.number(trial, label, "signal_to_noise", value, snr=snr, evaluation_parameters=told)


def read(folder: Folder) -> pd.DataFrame:
    snapshot = Snapshot(folder.written())
    return snapshot.measured(snapshot.students("s"), evaluation="signal_to_noise")


def test_the_setting_that_most_trials_have_is_taken_and_said(folder: Folder) -> None:
    trials = [folder.trial("s", 0, seed) for seed in range(3)]
    measured(folder, trials[:2], "few", 0.1, examples=100)
    measured(folder, trials, "all", 0.5)
    rows = read(folder)
    with pytest.warns(
        Chosen, match="signal_to_noise of s had 2 settings, .* that most models have: all images"
    ):
        chosen = of_one_evaluation(rows)
    assert chosen["value"].tolist() == [0.5] * 3


def test_of_settings_that_as_many_have_the_one_that_says_least(folder: Folder) -> None:
    trials = [folder.trial("s", 0, seed) for seed in range(2)]
    measured(folder, trials, "a", 0.1, smoothing={"samples": 8})
    measured(folder, trials, "b", 0.5)
    with pytest.warns(Chosen, match="not smoothed"):
        chosen = of_one_evaluation(read(folder))
    assert chosen["value"].tolist() == [0.5] * 2


def test_along_an_axis_evaluations_of_one_setting_are_one(folder: Folder) -> None:
    trials = [folder.trial("s", 0, seed) for seed in range(2)]
    for label in ("sweep", "suite"):
        measured(folder, trials, f"{label}8", 0.3, snr=8)
    measured(folder, trials, "suite10", 0.5, snr=10)
    rows = read(folder)
    assert sorted(of_one_evaluation(rows, ["snr"])["value"]) == [0.3, 0.3, 0.5, 0.5]
    with pytest.warns(Chosen):
        assert of_one_evaluation(rows)["snr"].nunique() == 1


def test_what_was_measured_in_another_unit_is_left_out(folder: Folder) -> None:
    trials = [folder.trial("s", 0, seed) for seed in range(2)]
    measured(folder, trials, "ratio", 0.1, unit="ratio")
    measured(folder, trials[:1], "dB", 0.5)
    assert of_one_evaluation(read(folder), at={"unit": None})["value"].tolist() == [0.5]
    assert of_one_evaluation(read(folder).head(0)).empty


def test_a_drawing_says_which_evaluation_it_is_of(folder: Folder) -> None:
    def draw(_: Snapshot) -> list[Table | Missing]:
        warnings.warn("Of 2 evaluations one", Chosen, stacklevel=1)
        return [Table("t", "T", "What.", pd.DataFrame()), Missing("m", "M", "why")]

    folder.trial("s", 0, 0)
    table, missing = drawn(draw, Snapshot(folder.written()))
    assert isinstance(table, Table)
    assert table.caption == "What. Of 2 evaluations one."
    assert missing == Missing("m", "M", "why")


def test_points_are_not_averaged_as_seeds(folder: Folder) -> None:
    for point, temperature in enumerate((1.0, 4.0)):
        folder.trial("s", point, point, method__temperature=temperature)
    students = Snapshot(folder.written()).students("s")
    assert of_one_point(students, ["method.temperature"], "Figure 1") is students
    with pytest.raises(InputError, match=r"Figure 1 would average several .* method.temperature"):
        of_one_point(students, [], "Figure 1")
    with pytest.raises(InputError, match="why"):
        only(students.head(0), "why")


def test_teachers_of_several_experiments_are_not_averaged_as_seeds(folder: Folder) -> None:
    for number, digest in enumerate("12"):
        told = json.dumps({"weights": f"sha256:{64 * digest}"})
        folder.trial("s", number, 0, role="teacher", experiment=told)
    teachers = Snapshot(folder.written()).teachers("s")
    with pytest.raises(InputError, match="Table 1 would average several points"):
        of_one_point(teachers, [], "Table 1")


def test_each_point_of_a_line_is_a_line(folder: Folder) -> None:
    """Two folders of one sweep were merged, each with a teacher of its own."""
    for temperature, points in ((2.0, (0, 2)), (4.0, (1, 3)), (8.0, (4,))):
        for point in points:
            for seed in range(2):
                folder.trial("s", point, seed, method__temperature=temperature)
    students = Snapshot(folder.written()).students("s").assign(group="kd")
    rows, names = a_line_for_each_point(students, "group", {"kd": "KD"}, [])
    assert sorted(names.values()) == [
        "KD, method.temperature = 2, point 0",
        "KD, method.temperature = 2, point 2",
        "KD, method.temperature = 4, point 1",
        "KD, method.temperature = 4, point 3",
        "KD, method.temperature = 8",
    ]
    assert rows.groupby("group")["point"].nunique().tolist() == 5 * [1]
    # along what tells them apart, only where two share it
    rows, names = a_line_for_each_point(students, "group", {"kd": "KD"}, ["method.temperature"])
    assert len(names) == 5
    few = students[students["point"].isin([0, 1, 4])]
    rows, names = a_line_for_each_point(few, "group", {"kd": "KD"}, ["method.temperature"])
    assert (names, list(rows["group"].unique())) == ({"kd": "KD"}, ["kd"])


def test_points_whose_values_are_written_alike_are_lines_of_their_own(folder: Folder) -> None:
    for point, sigma in enumerate((0.1, 0.1 + 1e-12)):
        folder.trial("s", point, 0, noise__input__sigma=sigma)
    students = Snapshot(folder.written()).students("s").assign(group="kd")
    _, names = a_line_for_each_point(students, "group", {"kd": "KD"}, [])
    assert list(names.values()) == [
        "KD, noise.input.sigma = 0.1, point 0",
        "KD, noise.input.sigma = 0.1, point 1",
    ]


def test_data_sets_of_one_name_are_told_apart(folder: Folder) -> None:
    for point, file in enumerate(("a.npz", "b.npz")):
        told = json.dumps({"data": {"name": "arrays", "file": file}})
        folder.trial("s", point, 0, data__name="arrays", experiment=told)
    snapshot = Snapshot(folder.written())
    with pytest.raises(InputError, match=r"several data sets \(arrays \(file a.npz\), arrays"):
        snapshot.students("s")
    found = [(name, file, len(part)) for name, file, part in by_data_set(snapshot.all_students())]
    assert [(name, file[:18], count) for name, file, count in found] == [
        ("arrays (file a.npz)", "arrays_file_a_npz_", 1),
        ("arrays (file b.npz)", "arrays_file_b_npz_", 1),
    ]


def files(*described: dict[str, Any]) -> list[str]:
    """The names of the files of trials tested on these data sets, in the order of these."""
    trials = pd.DataFrame(
        {
            "experiment": [json.dumps({"data": each}) for each in described],
            "data.name": [each["name"] for each in described],
            "at": range(len(described)),
        }
    )
    found = {at: file for _, file, part in by_data_set(trials) for at in part["at"]}
    return [found[at] for at in range(len(described))]


def test_files_are_named_by_what_a_data_set_is_whatever_others_there_are() -> None:
    plain = {"name": "mnist", "augment": "flip", "validation": 100}
    padded = {"name": "mnist", "pad": 1}
    assert files(plain, padded) == ["mnist", "mnist_pad_1"]
    assert files(padded) == ["mnist_pad_1"]
    assert files(padded, {"name": "mnist", "pad": 2, "resize": 16}) == [
        "mnist_pad_1",
        "mnist_pad_2_resize_16",
    ]


def test_what_a_name_of_a_file_cannot_say_is_told_apart_by_a_digest() -> None:
    places = ["sets/a.npz", "sets/a_npz", "sets_a/npz", "SETS/A.npz", "sets/ä.npz"]
    described = [{"name": "arrays", "path": place} for place in places]
    keys = [{"name": "arrays", "keys": {"test_images": name}} for name in ("x", "y")]
    long = [{"name": "arrays", "path": 300 * "a" + end} for end in "bc"]
    found = files(*described, *keys, *long)
    assert len({name.lower() for name in found}) == len(found)
    assert all(re.fullmatch(r"arrays_[a-z0-9_]{1,80}", name) for name in found)
    assert found == [files(each)[0] for each in (*described, *keys, *long)]
    # what is a text says most, and a list or mapping nothing that can be read
    many = {"name": "arrays", "classes": 10, "image_shape": [3, 32, 32], "path": "a.npz"}
    assert re.fullmatch(r"arrays_path_a_npz_classes_10_[0-9a-f]{8}", *files(many))
    # one whose name is what another is
    twins = files({"name": "mnist", "pad": 1}, {"name": "mnist_pad_1"})
    assert len(set(twins)) == 2
