"""``kdray list``: what a sweep file can name."""

from __future__ import annotations

import argparse

from kdray.cli.catalogue import entries
from kdray.cli.exit_codes import OK
from kdray.sweep.definition.plugins import load_installed_plugins


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    for entry in entries(chosen.what):
        print(f"{entry.name:20} {entry.summary}")
        for line in entry.details:
            print(f"{'':20}   {line}")
    return OK
