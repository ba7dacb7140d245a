"""What is the best where a sweep has several data sets: that of each."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kdray.results import Results
from kdray.results.points.best import best_points
from tests.sweep.fakes import ALONE, Engine, go

TWO_DATA_SETS: dict[str, Any] = {
    **ALONE,
    "experiment.noise.input": None,
    "experiment.data.examples": {"grid": [200, 240]},
    "experiment.model.hidden": {"grid": [[4], [8]]},
    "evaluate.best": {"points": 1, "suite": [{"label": "dear", "name": "fgsm", "epsilon": 0.05}]},
}


def test_the_best_points_of_each_data_set_are_measured_and_shown(
    engine: Engine, results: Path
) -> None:
    said = io.StringIO()
    go(results, TWO_DATA_SETS, said=said)
    found = Results(results)
    rows = found.robustness()
    measured = set(rows.loc[rows["label"] == "dear", "trial_id"])
    members = found.members()
    starred = best_points(found, "tiny")
    assert len(starred) == 2
    assert set(members.loc[members["trial_id"].isin(measured), "point"]) == set(starred)
    *_, line = [text for text in said.getvalue().splitlines() if text.startswith("students: ")]
    means = found.points("val_accuracy", sweep="tiny").set_index("point")["mean"]
    assert " | best val_accuracy of each data set: " in line
    for point, examples in zip(starred, (200, 240), strict=True):
        assert f"{means[point]:.4f} (examples={examples} " in line
