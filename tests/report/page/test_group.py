"""The parts of the page: one for each data set, on which alone points may be compared."""

from __future__ import annotations

import json
from pathlib import Path

from kdray.report.page.group import groups
from kdray.report.page.points import lines
from kdray.report.page.statistics import comparisons
from tests.report.page.small import SIGMA, Small


def resized(path: Path) -> Small:
    """Two points on digits as they are, and two on larger ones, on which all is better."""
    made = Small(path)
    for point in range(4):
        resize = 16 if point > 1 else 8
        value = 0.5 + point / 10
        made.point(point, [value, value + 0.05], {"data.resize": resize, SIGMA: point % 2 / 10})
        for row in made.trials[-2:]:
            data = {"name": "digits", **({"resize": 16} if point > 1 else {})}
            row["experiment"] = json.dumps({"data": data, "seed": row["seed"]})
    return made


def test_data_sets_of_one_name_that_differ_are_parts_of_their_own(tmp_path: Path) -> None:
    found = groups(resized(tmp_path).written().snapshot())
    assert [group.title for group in found] == [
        "s on digits (8 × 8, scikit-learn) (resize by default)",
        "s on digits (8 × 8, scikit-learn) (resize 16)",
    ]
    assert [group.best for group in found] == [[1], [3]]
    assert [[line.mark for line in lines(group)] for group in found] == [["", "best"]] * 2
    for group in found:
        _, (comparison, _) = comparisons(group, None)
        assert comparison.problem == ""
        assert len(comparison.rows) == 1


def test_what_is_changed_for_training_only_is_no_other_data_set(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point, fields in enumerate([{}, {"normalization": "none"}, {"train_examples": 50}]):
        made.point(point, [0.5, 0.6])
        for row in made.trials[-2:]:
            data = {"name": "digits", **fields}
            row["experiment"] = json.dumps({"data": data, "seed": row["seed"]})
    (group,) = groups(made.written().snapshot())
    assert group.title == "s"
