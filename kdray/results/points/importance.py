"""Which swept parameter matters: PED-ANOVA over the points (Watanabe, Bansal and Hutter 2023,
arXiv:2304.10255), with parameters that only some points have (arXiv:2601.20800)."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdray.results.filters import Where
from kdray.results.metrics import default_mode
from kdray.results.points.machines import warn_of_several_machines
from kdray.results.points.replicates import by_point, check_same_data, measured_replicates
from kdray.results.tables import Tables

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 4
"""Points below which an importance says nothing."""
BEST_SHARE, FEWEST_BEST = 0.1, 5
"""Share of the points that count as the best, and how many there are at least where that is no more
than half of all."""


def importance(tables: Tables, metric: str, sweep: str, where: Where) -> pd.Series[float]:
    """See :meth:`Results.importance`. The only place outside of sweeping that needs Optuna, and
    only when called."""
    rows = measured_replicates(tables, [metric], sweep, where)
    rows = rows[rows[metric].notna()]
    check_same_data(rows, f"the importance for {metric}")
    warn_of_several_machines(tables, [metric], [rows], "ranked")
    points = [({**identity, metric: seeds[metric].mean()}) for identity, seeds in by_point(rows)]
    given = _differing(points, metric)
    if len(points) < FEWEST or not given:
        return pd.Series(dtype=float, index=pd.Index([], dtype="str"), name=metric)
    means = [float(each[metric]) for each in points]
    if len(set(means)) == 1:
        return pd.Series(0.0, index=list(given), name=metric)
    found = _ped_anova(given, means, default_mode(metric) == "min")
    return pd.Series(found, name=metric, dtype=float).sort_values(ascending=False, kind="stable")


def _differing(points: list[dict[str, Any]], metric: str) -> dict[str, dict[int, Any]]:
    """Return, by parameter, the value of each point that has it, where these are not all alike."""
    given: dict[str, dict[int, Any]] = {}
    for number, point in enumerate(points):
        for name, value in point.items():
            if name not in ("sweep", "point", metric) and not (name == "case" and pd.isna(value)):
                given.setdefault(name, {})[number] = value
    return {
        name: values
        for name, values in given.items()
        if len({json.dumps(value) for value in values.values()}) > 1
    }


def _ped_anova(
    given: dict[str, dict[int, Any]], means: list[float], less_is_better: bool
) -> dict[str, float]:
    """Return the shares of importance, by parameter, of points with these values and means."""
    with warnings.catch_warnings():
        # in a notebook its progress bar asks for a package that nobody needs here
        warnings.simplefilter("ignore")
        import optuna

        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="minimize" if less_is_better else "maximize")
        optuna.logging.set_verbosity(verbosity)
        coded = {name: _coded(values) for name, values in given.items()}
        for number, mean in enumerate(means):
            own = {name: each for name, each in coded.items() if number in each[0]}
            parameters = {name: values[number] for name, (values, _) in own.items()}
            space = {name: distribution for name, (_, distribution) in own.items()}
            study.add_trial(
                optuna.trial.create_trial(params=parameters, distributions=space, value=mean)
            )
        best = max(BEST_SHARE, min(0.5, FEWEST_BEST / len(means)))
        return optuna.importance.get_param_importances(
            study,
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best),
            params=list(given),
        )


def _coded(values: dict[int, Any]) -> tuple[dict[int, Any], BaseDistribution]:
    """Return what Optuna is given of the values of one parameter, by point, and their range.

    Numbers are ranks, so that a range counts the same on a logarithmic scale.
    """
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if all(type(value) in (int, float) for value in values.values()):
        ranks = {value: rank for rank, value in enumerate(sorted(set(values.values())))}
        coded = {number: ranks[value] for number, value in values.items()}
        return coded, IntDistribution(0, len(ranks) - 1)
    texts = {number: json.dumps(value) for number, value in values.items()}
    return texts, CategoricalDistribution(sorted(set(texts.values())))
