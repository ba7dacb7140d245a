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
    from kdray.data import ImageData
    from kdray.exporting import load_model
    from kdray.methods import Method, OutputMethod
    from kdray.models import Model
    from kdray.perturbations import InputNoise, LabelNoise, LogitNoise, WeightNoise
    from kdray.results import Results, open_results
    from kdray.robustness import Evaluation
    from kdray.sweep.definition.plugins import load_plugin
    from kdray.sweep.definition.read import load_sweep
    from kdray.sweep.definition.samplers import Proposer
    from kdray.sweep.definition.trials import Sweep
    from kdray.sweep.evaluate import evaluate
    from kdray.sweep.plan import plan
    from kdray.sweep.run import run
    from kdray.trials.experiment import Experiment

__version__ = version("kdray")
__all__ = [
    "Evaluation",
    "Experiment",
    "ImageData",
    "InputError",
    "InputNoise",
    "LabelNoise",
    "LogitNoise",
    "Method",
    "Model",
    "OutputMethod",
    "Proposer",
    "Results",
    "Sweep",
    "WeightNoise",
    "evaluate",
    "load_model",
    "load_plugin",
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
    "Evaluation": "kdray.robustness",
    "ImageData": "kdray.data",
    "InputNoise": "kdray.perturbations",
    "LabelNoise": "kdray.perturbations",
    "LogitNoise": "kdray.perturbations",
    "Method": "kdray.methods",
    "Model": "kdray.models",
    "OutputMethod": "kdray.methods",
    "Proposer": "kdray.sweep.definition.samplers",
    "WeightNoise": "kdray.perturbations",
    "load_plugin": "kdray.sweep.definition.plugins",
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
