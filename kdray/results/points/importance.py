"""Which swept parameter matters: functional ANOVA of a random forest over the points (Hutter, Hoos
and Leyton-Brown 2014)."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdray.results.points.replicates import by_point, check_same_data, measured_replicates
from kdray.results.tables import Tables

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 4
"""Points below which a forest says nothing."""


def importance(tables: Tables, metric: str, sweep: str) -> pd.Series[float]:
    """See :meth:`Results.importance`. The only place outside of sweeping that needs Optuna, and
    only when called."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # in a notebook its progress bar asks for a package that nobody needs here
        import optuna

    rows = measured_replicates(tables, [metric], sweep, ())
    rows = rows[rows[metric].notna()]
    check_same_data(rows, f"the importance for {metric}")
    points = [({**identity, metric: seeds[metric].mean()}) for identity, seeds in by_point(rows)]
    names = [
        name
        for name in dict.fromkeys(name for each in points for name in each)
        if name not in ("sweep", "point", metric)
    ]
    given = {name: [each.get(name) for each in points] for name in names}
    given = {name: values for name, values in given.items() if _differ(values)}
    if len(points) < FEWEST or not given:
        return pd.Series(dtype=float, index=pd.Index([], dtype="str"), name=metric)
    means = [each[metric] for each in points]
    if len(set(means)) == 1:
        return pd.Series(0.0, index=list(given), name=metric)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study()
        optuna.logging.set_verbosity(verbosity)
        space = {name: _distribution(values) for name, values in given.items()}
        for number, mean in enumerate(means):
            parameters = {
                name: _parameter(values[number], space[name]) for name, values in given.items()
            }
            study.add_trial(
                optuna.trial.create_trial(params=parameters, distributions=space, value=mean)
            )
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=list(given)
        )
    return pd.Series(found, name=metric, dtype=float).sort_values(ascending=False, kind="stable")


def _differ(values: list[Any]) -> bool:
    """Whether all points have a value and not all the same."""
    return (
        not any(value is None or value != value for value in values)
        and len({json.dumps(v) for v in values}) > 1
    )


def _distribution(values: list[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values))
    return CategoricalDistribution(sorted({json.dumps(value) for value in values}))


def _parameter(value: Any, distribution: BaseDistribution) -> Any:
    from optuna.distributions import FloatDistribution

    return float(value) if isinstance(distribution, FloatDistribution) else json.dumps(value)
