"""Sweeps: reading their files, planning and running them on Ray. The only place that imports ray or optuna."""

from kdray.sweep.definition import Sweep, load_sweep
from kdray.sweep.running import Summary, run

__all__ = ["Summary", "Sweep", "load_sweep", "run"]
