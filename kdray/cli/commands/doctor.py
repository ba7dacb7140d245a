"""``kdray doctor``: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import argparse

from kdray.cli.doctor import examine
from kdray.cli.exit_codes import FAILED, OK
from kdray.cli.output import reader_may_leave
from kdray.data import data_root
from kdray.sweep.definition.plugins import load_installed_plugins


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    wrong = 0
    for finding in examine(data_root(chosen.data)):
        sign = {True: "ok   ", False: "WRONG", None: "note "}[finding.ok]
        wrong += finding.ok is False
        with reader_may_leave():
            print(f"{sign} {finding.subject}: {finding.text}", flush=True)
    with reader_may_leave():
        print("everything that a sweep needs works" if not wrong else f"{wrong} to mend")
    return FAILED if wrong else OK
