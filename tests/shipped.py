"""What stands in ``sweeps/``: sweeps, the suites beside them, and files that start clusters."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "sweeps"
SUITES = sorted((FOLDER / "suites").glob("*.yaml"))
CLUSTERS = FOLDER / "clusters"
PLUGINS = FOLDER / "plugins"
"""Sweeps that need the plug-in beside them."""
SWEEPS = sorted(
    path
    for path in FOLDER.rglob("*.yaml")
    if path not in SUITES and not {CLUSTERS, PLUGINS} & {*path.parents}
)
