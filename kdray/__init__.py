"""kdray: sweeps of noisy and robust knowledge distillation, run on Ray, read with pandas.

    sweep = kdray.load_sweep("sweeps/quickstart.yaml")
    kdray.run(sweep, results="results")
    kdray.open_results("results").frame()

The parts are imported when they are first used: ``kdray.results`` needs neither torch nor ray.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdray.core import InputError
    from kdray.exporting import load_model
    from kdray.results import Results, open_results
    from kdray.sweep.definition.read import load_sweep
    from kdray.sweep.definition.trials import Sweep
    from kdray.sweep.evaluate import evaluate
    from kdray.sweep.plan import plan
    from kdray.sweep.run import run
    from kdray.trials.experiment import Experiment

__version__ = version("kdray")
__all__ = [
    "Experiment",
    "InputError",
    "Results",
    "Sweep",
    "evaluate",
    "load_model",
    "load_sweep",
    "open_results",
    "plan",
    "run",
]

_HOME = {
    "InputError": "kdray.core",
    "Experiment": "kdray.trials.experiment",
    "Results": "kdray.results",
    "open_results": "kdray.results",
    "load_model": "kdray.exporting",
    "Sweep": "kdray.sweep.definition.trials",
    "evaluate": "kdray.sweep.evaluate",
    "load_sweep": "kdray.sweep.definition.read",
    "plan": "kdray.sweep.plan",
    "run": "kdray.sweep.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'kdray' has no attribute {name!r}")
