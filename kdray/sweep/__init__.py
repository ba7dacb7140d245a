"""Sweeps: reading their files, planning and running them on Ray. The only place that imports ray or optuna."""

from kdray.sweep.definition import Sweep, load_sweep
from kdray.sweep.evaluating import evaluate, load_suite
from kdray.sweep.planning import Plan, plan
from kdray.sweep.progress import Progress
from kdray.sweep.running import run
from kdray.sweep.work import Options, Summary

__all__ = ["Options", "Plan", "Progress", "Summary", "Sweep", "evaluate", "load_suite", "load_sweep", "plan", "run"]
