"""``kdray forget``: a trial is gone as if it had never been there, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.results import TABLES, Results
from kdray.sweep.evaluate import load_suite
from kdray.sweep.scheduling.lock import only_driver
from kdray.sweep.status import forget
from tests.sweep.fakes import Engine, go, tables
from tests.sweep.scheduling.test_across import TRANSFER
from tests.sweep.test_evaluate import measure, students, suite_file


def everything(results: Path) -> dict[str, object]:
    """The tables without what says when and how long."""
    return {
        name: frame.sort_values(list(frame)[:6]).reset_index(drop=True).to_json()
        for name, frame in tables(results).items()
    }


def stored(results: Path) -> dict[str, pd.DataFrame]:
    return {name: Results(results).table(name).to_pandas() for name in TABLES}


def test_no_row_and_no_file_of_it_is_left_and_the_others_keep_theirs(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    measure(finished, load_suite(suite_file(tmp_path, [TRANSFER])))
    one, *others = students(finished)
    before = stored(finished)
    gone = forget(Results(finished), [one[:6]])
    after = stored(finished)
    assert not list(finished.rglob(f"*{one}.safetensors"))
    for table in TABLES:
        rows = before[table]
        theirs = rows["trial_id"] == one
        if table == "robustness":
            theirs |= rows["source_trial_id"] == one
        assert gone[table] == int(theirs.sum()) > 0
        assert len(after[table]) == len(rows) - gone[table]
        assert one not in after[table].astype(str).to_json()
    assert set(others) <= set(after["trials"]["trial_id"])
    assert gone["weights"] == 1


def test_the_same_command_brings_back_what_was_forgotten(engine: Engine, finished: Path) -> None:
    before = everything(finished)
    one, two, *_ = students(finished)
    forget(Results(finished), [one, two])
    engine.ran.clear()
    assert go(finished).ran == {one, two}
    assert sorted(engine.trained) == sorted([one, two])
    assert everything(finished) == before


def test_what_cannot_be_is_refused_and_nothing_is_deleted(engine: Engine, finished: Path) -> None:
    one = students(finished)[0]
    with pytest.raises(InputError, match="no trial 'nonsense'"):
        forget(Results(finished), [one, "nonsense"])
    with pytest.raises(InputError, match="6 trials ''"):
        forget(Results(finished), [""])
    with (
        only_driver(Results(finished).store, "tiny"),
        pytest.raises(InputError, match="sweep 'tiny' is running, by process"),
    ):
        forget(Results(finished), [one])
    assert one in set(Results(finished).trials()["trial_id"])
