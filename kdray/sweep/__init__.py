"""Sweeps: reading their files, planning and running them on Ray. The only place that imports ray or
optuna.

The parts are imported when they are first used: Ray is started before most of them are there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdray.sweep.definition import Sweep, load_sweep
    from kdray.sweep.evaluating import evaluate, load_suite
    from kdray.sweep.planning import Plan, plan
    from kdray.sweep.progress import Progress
    from kdray.sweep.running import run
    from kdray.sweep.work import Options, Summary

__all__ = [
    "Options",
    "Plan",
    "Progress",
    "Summary",
    "Sweep",
    "evaluate",
    "load_suite",
    "load_sweep",
    "plan",
    "run",
]

_HOME = {
    "Sweep": "definition",
    "load_sweep": "definition",
    "evaluate": "evaluating",
    "load_suite": "evaluating",
    "Plan": "planning",
    "plan": "planning",
    "Progress": "progress",
    "run": "running",
    "Options": "work",
    "Summary": "work",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"kdray.sweep.{_HOME[name]}"), name)
    raise AttributeError(f"module 'kdray.sweep' has no attribute {name!r}")
