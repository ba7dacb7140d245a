"""A new axis is a column of the schema and nothing else: names, readers and compaction follow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NEW_AXIS = """
import sys, types
from pathlib import Path
import kdray.results

# The schema with one more column, before anything has read it.
path = Path(kdray.results.__path__[0]) / "schema.py"
column = 'Column("own_axis", AXIS, _FLOAT, "", "of an evaluation that is added here"),'
before = 'Column("side", AXIS'
text = path.read_text().replace(before, column + "\\n        " + before)
schema = types.ModuleType("kdray.results.schema")
sys.modules["kdray.results.schema"] = schema
exec(compile(text, str(path), "exec"), schema.__dict__)

from kdray.results import Results, Store, write_rows
from kdray.results.files.compact import compact
from kdray.robustness.base import accuracy

store = Store(sys.argv[1])
store.create()
write_rows(store, "trials", "t", [{"trial_id": "t", "status": "completed"}], {})
common = {"trial_id": "t", "evaluation_id": "e", "label": "added", "split": "test"}
rows = [{**common, **accuracy(right, 10, own_axis=15.0 * right).row()} for right in range(6)]
for file in ("one", "copy"):
    write_rows(store, "robustness", file, rows, {})
for _ in range(2):
    results = Results(sys.argv[1])
    assert len(results.robustness()) == 6
    names = [name for name in results.frame() if name.startswith("added")]
    assert names == [f"added.accuracy[own_axis={15 * right}]" for right in range(6)], names
    compact(store)
assert len(store.names("robustness", ".parquet")) == 1
"""


def test_a_column_in_the_schema_is_enough_for_a_new_axis(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NEW_AXIS, str(tmp_path / "results")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
