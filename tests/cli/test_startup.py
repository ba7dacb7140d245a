"""What only reads results loads neither torch nor ray nor optuna, which take seconds to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kdray.results import Results, Store
from tests.results.made import add_point

SLOW = ("torch", "ray", "optuna")
DRAWING = ("matplotlib", "scipy")
RUN = """
import sys
from kdray.cli import main
try:
    status = main({arguments!r})
except SystemExit as ended:
    status = ended.code
print(status, *(name for name in {slow!r} if name in sys.modules), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("startup") / "results"
    Store(folder).create()
    for number, value in enumerate((0.5, 0.9)):
        made = Results(folder)
        columns = {"data.name": "digits"}
        add_point(made, number, [value, value], {"noise.input.sigma": float(number)}, **columns)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "status RESULTS",
        "status RESULTS --trials",
        "status RESULTS TRIAL",
        "report RESULTS --out TABLE",
        "compact RESULTS",
        "forget RESULTS TRIAL",
    ],
)
def test_what_reads_results_starts_without_what_takes_long_to_import(
    command: str, results: Path
) -> None:
    trial_id = Results(results).members()["trial_id"].iloc[0]
    words = {"RESULTS": str(results), "TRIAL": trial_id, "TABLE": str(results / "points.csv")}
    arguments = [words.get(word, word) for word in command.split()]
    slow = SLOW if command.startswith("report") else SLOW + DRAWING
    code = RUN.format(arguments=arguments, slow=slow)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == "0", ended.stderr
