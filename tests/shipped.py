"""What stands in ``sweeps/``: sweeps, the suites beside them, and files that start clusters."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "sweeps"
SUITES = sorted((FOLDER / "suites").glob("*.yaml"))
CLUSTERS = FOLDER / "clusters"
SWEEPS = sorted(
    path for path in FOLDER.rglob("*.yaml") if path not in SUITES and CLUSTERS not in path.parents
)
