"""Points against a baseline: which is compared with which, by which test, and what is refused."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest

from kdray.core import InputError
from kdray.results import Results, SeveralDevices, write_rows
from kdray.results.points.differences import of_independent, of_pairs
from kdray.results.points.estimates import holm
from tests.results.made import add_point

SIGMA, ALPHA = "noise.input.sigma", "method.alpha"
BASE, BETTER, OTHER = [0.50, 0.52, 0.51, 0.55], [0.60, 0.63, 0.62, 0.64], [0.49, 0.55, 0.50, 0.58]
TEACHERS = [{"model": "big", "seed": 0}] * 4


@pytest.fixture
def three(empty: Results) -> Results:
    for number, values in enumerate((BASE, BETTER, OTHER)):
        add_point(
            empty, number, values, {SIGMA: number / 10}, case=f"case {number}", teachers=TEACHERS
        )
    return empty


def test_points_are_paired_by_seed_and_the_p_values_adjusted_for_their_number(
    three: Results,
) -> None:
    table = three.compare(0, "val_accuracy")
    assert table["point"].tolist() == [1, 2]
    assert (
        table[["baseline", "n", "n_baseline", "paired"]].to_numpy().tolist()
        == [[0, 4, 4, True]] * 2
    )
    for (_, row), values in zip(table.iterrows(), (BETTER, OTHER), strict=True):
        expected = of_pairs(np.array(values), np.array(BASE))._asdict()
        assert row[list(expected)].tolist() == pytest.approx(list(expected.values()))
    for test in ("t_p", "wilcoxon_p"):
        assert table[f"{test}_holm"].tolist() == pytest.approx(holm(table[test].tolist(), 2))


def test_a_comparison_without_a_p_value_counts_in_the_correction_and_has_no_interval(
    empty: Results,
) -> None:
    for number, values in enumerate(([0.5, 0.6, 0.7], [0.6, 0.7, 0.8], [0.6, 0.65, 0.9])):
        add_point(empty, number, values, {SIGMA: number / 10})
    table = empty.compare(0, "val_accuracy")
    assert np.isnan(table.loc[0, ["t_p", "t_p_holm", "low", "high"]].to_numpy(float)).all()
    assert table.loc[1, "t_p_holm"] == pytest.approx(2 * table.loc[1, "t_p"])


def test_of_two_points_with_one_number_the_older_gets_a_number_of_its_own(empty: Results) -> None:
    """Members written before the sweep's file was changed and after it."""
    for number, sigma in ((0, 0.0), (1, 0.1), (1, 0.2)):
        add_point(empty, number, BASE, {SIGMA: sigma})
    for baseline, sigmas in ((0, [0.2, 0.1]), (1, [0.0, 0.1]), (2, [0.0, 0.2])):
        assert empty.compare(baseline, "val_accuracy")[SIGMA].tolist() == sigmas


@pytest.mark.parametrize("baseline", [np.int64(0), {SIGMA: np.float64(0)}, {"point": np.int64(0)}])
def test_values_out_of_a_table_are_baselines(three: Results, baseline: object) -> None:
    assert three.compare(baseline, "val_accuracy")["point"].tolist() == [1, 2]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fits 9"):
        three.compare(np.int64(9), "val_accuracy")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "baseline", [0, "case 0", {SIGMA: 0.0}, {SIGMA: 0, "case": "case 0"}, {"point": 0}]
)
def test_a_baseline_is_a_number_a_case_or_values(three: Results, baseline: object) -> None:
    table = three.compare(baseline, "val_accuracy")  # type: ignore[arg-type]
    assert table["point"].tolist() == [1, 2]
    if baseline != {SIGMA: 0.0}:
        assert table["difference"].tolist() == pytest.approx([0.1025, 0.01])


def test_values_pair_each_point_with_the_one_that_shares_all_others(empty: Results) -> None:
    for number, (sigma, alpha) in enumerate(
        [(0.0, 0.1), (0.0, 0.9), (0.2, 0.1), (0.2, 0.9), (0.2, 0.5)]
    ):
        add_point(
            empty, number, [sigma + alpha / 100, sigma + alpha / 50], {SIGMA: sigma, ALPHA: alpha}
        )
    table = empty.compare({SIGMA: 0.0}, "val_accuracy").set_index("point")
    assert table["baseline"].fillna(-1).to_dict() == {2: 0, 3: 1, 4: -1}
    assert table.loc[[2, 3], "difference"].tolist() == pytest.approx([0.2, 0.2])
    assert table.loc[4, "n_baseline"] == 0
    assert table.loc[4, ["difference", "t_p", "t_p_holm"]].isna().all()


def test_a_case_of_several_points_pairs_by_the_paths_that_both_have(empty: Results) -> None:
    for number, (case, sigma) in enumerate(
        [("plain", 0.0), ("plain", 0.2), ("kd", 0.0), ("kd", 0.2)]
    ):
        add_point(empty, number, [number / 10, number / 10 + 0.01], {SIGMA: sigma}, case=case)
    assert empty.compare("plain", "val_accuracy")["baseline"].tolist() == [0, 1]


def test_a_baseline_that_fits_twice_is_refused(empty: Results) -> None:
    for number, case in enumerate(("a", "a", "b")):
        add_point(empty, number, [0.5, 0.6], {ALPHA: number} if case == "a" else {}, case=case)
    with pytest.raises(
        InputError,
        match=r"for point 2 \(b\) of s both point 0 \(a\) of s and point 1 \(a\) of s fit",
    ):
        empty.compare("a", "val_accuracy")


def test_only_seeds_that_both_have_are_paired(empty: Results) -> None:
    add_point(empty, 0, [0.5, 0.6, 0.7], {SIGMA: 0.0})
    add_point(empty, 1, [None, 0.7, 0.9], {SIGMA: 0.1})
    (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    assert (row["n"], row["n_baseline"], row["paired"]) == (2, 2, True)
    assert row["difference"] == pytest.approx(0.15)


def test_one_shared_seed_is_not_enough_to_pair(empty: Results) -> None:
    add_point(empty, 0, [0.5, 0.6], {SIGMA: 0.0})
    add_point(empty, 1, [None, 0.7, 0.9], {SIGMA: 0.1})
    (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    expected = of_independent(np.array([0.7, 0.9]), np.array([0.5, 0.6]))
    assert (row["n"], row["n_baseline"], row["paired"]) == (2, 2, False)
    assert row["t_p"] == pytest.approx(expected.t_p)


@pytest.mark.parametrize(
    ("teachers", "paired"),
    [
        ([{"model": "big", "seed": 0}] * 4, True),
        ([{"model": "small", "seed": 3}] * 4, True),
        ([{"model": "big", "seed": 1}] * 4, False),
        ([{"model": "big", "seed": 0}] * 3 + [{"model": "big", "seed": 1}], False),
        ([], True),
    ],
    ids=[
        "the same",
        "another by description",
        "the same by another seed",
        "one of them by another seed",
        "none",
    ],
)
def test_seeds_are_paired_unless_a_teacher_differs_by_its_seed_alone(
    empty: Results, teachers: list[dict[str, object]], paired: bool
) -> None:
    add_point(empty, 0, BASE, {SIGMA: 0.0}, teachers=TEACHERS)
    add_point(empty, 1, BETTER, {SIGMA: 0.1}, teachers=teachers)
    (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    assert row["paired"] is paired
    made = (of_pairs if paired else of_independent)(np.array(BETTER), np.array(BASE))
    assert row["t_p"] == pytest.approx(made.t_p)


def test_one_seed_has_a_difference_and_no_test(empty: Results) -> None:
    add_point(empty, 0, [0.5], {SIGMA: 0.0})
    add_point(empty, 1, [0.75], {SIGMA: 0.1})
    (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    assert row["difference"] == 0.25
    assert all(
        math.isnan(row[name])
        for name in row
        if name in ("low", "high", "effect_size") or "_p" in name
    )


@pytest.mark.parametrize("data", [{"name": "mnist"}, {"name": "digits", "resize": 16}])
def test_different_data_are_refused_with_both_names(
    empty: Results, data: dict[str, object]
) -> None:
    add_point(empty, 0, [0.5, 0.6], {SIGMA: 0.0}, case="ours")
    add_point(empty, 1, [0.5, 0.6], {SIGMA: 0.1}, data=data)
    told = (
        "point 1 of s and point 0 \\(ours\\) of s: different data cannot be compared: "
        f"{data['name']}.* and digits"
    )
    with pytest.raises(InputError, match=told):
        empty.compare(0, "val_accuracy")


def test_images_left_out_of_training_do_not_make_other_test_images(empty: Results) -> None:
    add_point(empty, 0, [0.5, 0.6], {SIGMA: 0.0})
    add_point(empty, 1, [0.5, 0.6], {SIGMA: 0.1}, data={"name": "digits", "omit_classes": [3]})
    assert empty.compare(0, "val_accuracy")["t_p"].tolist() == [1]


def test_a_number_that_several_sweeps_have_needs_the_sweep(three: Results) -> None:
    add_point(three, 0, BASE, {ALPHA: 1}, sweep="t", case="case 0")
    add_point(three, 1, BASE, {ALPHA: 2}, sweep="t")
    for baseline in (0, "case 0"):
        with pytest.raises(InputError, match=r"is in several sweeps; say sweep= \(one of s, t\)"):
            three.compare(baseline, "val_accuracy")
    assert three.compare(0, "val_accuracy", sweep="t")["point"].tolist() == [1]
    assert three.compare({ALPHA: 1}, "val_accuracy")["sweep"].tolist() == ["t"]


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        (7, r"no point with val_accuracy fits 7 \(points: 0, 1, 2\)"),
        ("kd", r'fits "kd" \(cases: case 0, case 1, case 2\)'),
        ({SIGMA: 5}, r"\(there are: noise.input.sigma: 0.0, 0.1, 0.2\)"),
        ({"sgma": 5}, "baseline: no column 'sgma'"),
    ],
)
def test_a_baseline_that_is_not_there_is_refused_with_what_is(
    three: Results, baseline: object, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        three.compare(baseline, "val_accuracy")  # type: ignore[arg-type]


def test_results_without_points_have_no_baseline(empty: Results) -> None:
    with pytest.raises(InputError, match=r"no point with val_accuracy fits 0 \(points: none\)"):
        empty.compare(0, "val_accuracy")


def test_across_sweeps_equal_seeds_are_paired(three: Results) -> None:
    add_point(three, 0, BETTER, {ALPHA: 0.5}, sweep="another", teachers=TEACHERS)
    add_point(three, 1, OTHER[:3], {ALPHA: 0.9}, sweep="another", teachers=TEACHERS[:3])
    table = three.compare({SIGMA: 0.0}, "val_accuracy", sweep="s", across=True)
    elsewhere = table[table["sweep"] == "another"]
    assert len(table) == 4
    assert elsewhere["paired"].all()
    assert elsewhere["n"].tolist() == [4, 3]
    expected = of_pairs(np.array(BETTER), np.array(BASE))._asdict()
    assert elsewhere.iloc[0][list(expected)].tolist() == pytest.approx(list(expected.values()))
    alone = three.compare({SIGMA: 0.0}, "val_accuracy", sweep="s")
    assert set(alone["sweep"]) == {"s"}
    with pytest.raises(InputError, match="is in several sweeps"):
        three.compare(0, "val_accuracy", across=True)


def on_devices(results: Results, number: int, values: list[float], *devices: str | None) -> None:
    """A point whose seeds were trained on these kinds of device."""
    made = add_point(results, number, [None] * len(values), {SIGMA: number / 10})
    for seed, (trial_id, value, device) in enumerate(zip(made, values, devices, strict=True)):
        row = {"trial_id": trial_id, "role": "student", "seed": seed, "status": "completed"}
        row |= {"val_accuracy": value, "device": device}
        row["experiment"] = json.dumps({"data": {"name": "digits"}, "seed": seed})
        write_rows(results.store, "trials", f"{trial_id}-again", [row], {SIGMA: float})


A100, SLICE = "NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"


@pytest.mark.parametrize(
    ("ours", "theirs", "n", "apart"),
    [
        ([A100] * 4, [A100] * 4, 4, 0),
        (["cpu"] * 4, ["cpu", "cpu", "cpu", A100], 3, 1),
        ([A100, A100, "cpu", "cpu"], [A100, A100, "cpu", "cpu"], 4, 0),
        ([None] * 4, [A100] * 4, 4, 0),
    ],
    ids=["one kind", "one elsewhere", "seed by seed", "unknown"],
)
def test_seeds_are_paired_on_one_kind_of_device_only(
    empty: Results, ours: list[str | None], theirs: list[str | None], n: int, apart: int
) -> None:
    on_devices(empty, 0, BASE, *theirs)
    on_devices(empty, 1, BETTER, *ours)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if not apart else "ignore", SeveralDevices)
        (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    assert (row["n"], row["n_baseline"], row["paired"]) == (n, n, True)
    assert row["n_other_device"] == apart
    assert row["difference"] == pytest.approx(np.mean(BETTER[:n]) - np.mean(BASE[:n]))


def test_points_on_two_kinds_of_gpu_are_compared_as_independent_and_said_so(empty: Results) -> None:
    on_devices(empty, 0, BASE, *[A100] * 4)
    on_devices(empty, 1, BETTER, *[SLICE] * 4)
    with pytest.warns(SeveralDevices) as told:
        (row,) = empty.compare(0, "val_accuracy").to_dict("records")
    assert [str(each.message) for each in told] == [
        "val_accuracy: 4 seeds of 1 point not paired with the baseline's: trained on another kind "
        "of device, where equal seeds draw other numbers"
    ]
    expected = of_independent(np.array(BETTER), np.array(BASE))
    assert (row["n"], row["paired"], row["n_other_device"]) == (4, False, 4)
    assert row["t_p"] == pytest.approx(expected.t_p)
