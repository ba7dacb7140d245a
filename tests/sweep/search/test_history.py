"""What a search finds in the results when it starts."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdray.results import Results
from kdray.results.files.warn import DamagedFile
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.plan import plan
from kdray.sweep.search.history import History, PastPoints, note_file
from tests.sweep.fakes import ALONE, Engine, go, instead_of_ray, sweep_of

SEARCH: dict[str, Any] = {
    **ALONE,
    "seeds": 1,
    "experiment.noise.input.sigma": {"uniform": [0, 1]},
    "search": {"sampler": "random", "points": 3},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a search of three points; not to be changed."""
    folder = tmp_path_factory.mktemp("searched") / "results"
    with instead_of_ray():
        go(folder, SEARCH, said=io.StringIO())
    return folder


def past(folder: Path, *changes: dict[str, Any]) -> PastPoints:
    results = Results(folder)
    return PastPoints(sweep_of(SEARCH, *changes), TrialIndex(results), results)


def history(folder: Path, *changes: dict[str, Any]) -> History:
    (stratum,) = sweep_of(SEARCH, *changes).strata
    return past(folder, *changes).of(stratum)


def sigmas(found: History) -> list[float]:
    return [point.values["noise.input.sigma"] for point in found.asked]


def test_the_points_that_were_asked_for_come_in_order_under_their_numbers(searched: Path) -> None:
    members = Results(searched).members().sort_values("point")
    found = history(searched)
    assert [point.number for point in found.asked] == [0, 1, 2]
    assert [
        str(point.values["noise.input.sigma"]) in text
        for point, text in zip(found.asked, members["swept"], strict=True)
    ] == [True] * 3
    assert found.known == []


def test_what_is_not_of_the_space_is_no_point_of_it(searched: Path) -> None:
    whole = sigmas(history(searched))
    space = {"experiment.noise.input.sigma": {"uniform": [0, max(whole) - 1e-6]}}
    found = history(searched, space)
    assert sigmas(found) == [sigma for sigma in whole if sigma != max(whole)]
    assert found.numbers == {0, 1, 2}, "nobody else is given its number"


def test_another_experiment_has_other_points(searched: Path) -> None:
    assert history(searched, {"experiment.training.epochs": 3}).asked == []
    assert len(history(searched, {"seeds": 3, "search.points": 9}).asked) == 3
    grid = {"experiment.model.hidden": {"grid": [[8]]}}
    assert len(history(searched, grid).asked) == 3, "a leaf that becomes a grid keeps its points"


def test_the_points_of_another_sweep_are_known(searched: Path) -> None:
    found = history(searched, {"name": "other"})
    assert found.asked == []
    assert len(found.known) == 3
    assert all("val_accuracy" in numbers[0] for _, numbers in found.known)
    assert history(searched, {"name": "other", "seeds": 2}).known == [], "a seed is missing"


def test_a_point_under_way_is_taken_up_until_it_has_ended(results: Path) -> None:
    results_ = Results(results)
    results_.store.create()
    sweep = sweep_of(SEARCH)
    point = next(iter(sweep_of(SEARCH, {"search": {}, "experiment.noise.input.sigma": 0.5}).grid()))
    point = point._replace(number=7, space=sweep.spaces[0], values={"noise.input.sigma": 0.5})
    past(results).note(point)
    assert [(p.number, p.values) for p in history(results).asked] == [(7, point.values)]
    assert history(results, {"experiment.training.epochs": 3}).asked == []
    results_.store.write(note_file("tiny"), b"[{]")
    with pytest.warns(DamagedFile, match="damaged, left out"):
        assert history(results).asked == [], "a damaged note costs what was under way"


def test_a_killed_search_takes_up_what_was_under_way_where_its_sampler_learns(
    engine: Engine, results: Path
) -> None:
    tpe = {"search": {"sampler": "tpe", "points": 5, "startup": 2}}
    engine.width, engine.interrupt_after = 2, 3
    with pytest.raises(KeyboardInterrupt):
        go(results, SEARCH, tpe)
    begun = set(engine.trained)
    engine.ran.clear()
    engine.interrupt_after = None
    go(results, SEARCH, tpe)
    ended = set(Results(results).trials()["trial_id"])
    assert begun <= ended
    assert len(ended) == 5


@pytest.mark.parametrize("name", ["tiny", "other"])
def test_a_point_that_cannot_be_read_any_more_is_skipped_and_that_is_said(
    searched: Path, results: Path, name: str
) -> None:
    """Its model was a plug-in's, say: the search begins without it."""
    shutil.copytree(searched, results)
    for path in sorted((results / "trials").glob("*.parquet"))[:2]:
        table = pq.read_table(path)
        place = table.schema.get_field_index("experiment")
        lost = [text.replace('"name":"mlp"', '"name":"gone"') for text in table[place].to_pylist()]
        column = pa.array(lost, table.schema.field(place).type)
        pq.write_table(table.set_column(place, table.schema.field(place), column), path)
    said = io.StringIO()
    with instead_of_ray() as engine:
        summary = go(results, SEARCH, {"name": name, "search.points": 4}, said=said)
    assert engine.trained
    assert not summary.failures
    lines = [line for line in said.getvalue().splitlines() if "cannot be read here" in line]
    assert len(lines) == 1
    assert "2 points in the results are not used by the search" in lines[0]
    assert "unknown name 'gone'" in lines[0]
    assert plan(sweep_of(SEARCH, {"name": name}), results).searched
