"""What stands in ``sweeps/``: sweeps, and the suites beside them."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "sweeps"
SUITES = sorted((FOLDER / "suites").glob("*.yaml"))
SWEEPS = sorted(path for path in FOLDER.rglob("*.yaml") if path not in SUITES)
