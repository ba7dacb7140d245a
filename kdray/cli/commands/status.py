"""``kdray status``: how the sweeps in a results folder stand."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import OK
from kdray.cli.tables import print_points, print_trials
from kdray.core import tag_of
from kdray.core.wording import counted
from kdray.results import Results, open_results
from kdray.results.files.location import printable
from kdray.sweep.status import changed_code, log, sweeps, trial


def execute(chosen: argparse.Namespace) -> int:
    results = open_results(chosen.results)
    if chosen.trial_id is not None:
        for name, value in trial(results, chosen.trial_id).items():
            print(f"{name:40} {value}")
        if lines := log(results, chosen.trial_id):
            print(lines)
        return OK
    found = sweeps(results)
    if not found:
        print(f"{printable(chosen.results)}: no sweep has run here yet")
    for sweep in found:
        parts = [
            f"{role}s: "
            + ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
            for role, outcomes in sorted(sweep.counts.items(), reverse=True)
        ]
        print(f"{sweep.sweep}: {'; '.join(parts) or 'no trial has ended yet'}")
        if sweep.running is not None:
            print(f"  running {sweep.running}\n  {sweep.progress}")
        for what, trials in (("failed", sweep.failures), ("given up", sweep.given_up)):
            for trial_id, reason in trials.items():
                print(f"  {what}: {trial_id}: {reason}")
        (print_trials if chosen.trials else print_points)(chosen.results, sweep.sweep)
    if chosen.plugin:
        _print_changed_code(results)
    return OK


def _print_changed_code(results: Results) -> None:
    """Say which results were made by code of the plug-ins that has changed since."""
    from kdray.sweep.definition.plugins import loaded_plugins  # and with it torch

    for plugin in loaded_plugins():
        versions = {str(tag_of(kind)): kind.version for kind in plugin.members}
        made = changed_code(results, versions)
        if made:
            print(
                f"{plugin.source.name}: {counted(len(set().union(*made.values())), 'trial')} made "
                f"by code that has changed since ({', '.join(sorted(made))}); 'kdray run' makes "
                "them anew"
            )
