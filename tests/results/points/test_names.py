"""A case is the same however its accents are written."""

from __future__ import annotations

import pytest

from kdray.core import InputError
from kdray.results import Results
from kdray.sweep.definition.read import sweep_from
from tests.results.made import add_point
from tests.sweep.fakes import ALONE, changed, tiny

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED])
def test_questions_find_a_case_by_either_form(empty: Results, name: str) -> None:
    add_point(empty, 0, [0.5], case=COMPOSED)
    add_point(empty, 1, [0.7], case="other")
    for where in ([("case", "==", name)], [("case", "in", [name])]):
        assert empty.points("val_accuracy", where=where)["mean"].tolist() == [0.5]
        assert len(empty.members(where=where)) == 1
    for baseline in (name, {"case": name}):
        assert empty.compare(baseline, "val_accuracy")["baseline"].tolist() == [0]


def test_a_file_has_one_case_of_a_name() -> None:
    cases = [{"name": name, "set": {"model.hidden": [4]}} for name in (COMPOSED, DECOMPOSED)]
    with pytest.raises(InputError, match="is used twice"):
        sweep_from(changed(tiny(cases=cases), ALONE))
    sweep = sweep_from(changed(tiny(cases=cases[1:]), ALONE))
    assert {point.space.case for point in sweep.grid()} == {COMPOSED}
