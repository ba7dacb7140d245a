"""``kdray compact``: the many files of a results folder into few."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import OK
from kdray.results import open_results
from kdray.results.files.compact import compact as compacted
from kdray.sweep.status import refuse_while_running


def execute(chosen: argparse.Namespace) -> int:
    results = open_results(chosen.results)
    refuse_while_running(results)
    for table, files in compacted(results.store).items():
        left = (
            f", {len(files.damaged)} of them damaged and left as they are" if files.damaged else ""
        )
        merged = (
            f"{files.before} files are {files.after} now"
            if files.after < files.before
            else "nothing to merge"
        )
        print(f"{table}: {merged}{left}")
    return OK
