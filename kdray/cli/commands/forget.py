"""``kdray forget``: trials deleted with all that was measured of them."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import OK
from kdray.results import open_results
from kdray.sweep.status import forget


def execute(chosen: argparse.Namespace) -> int:
    gone = forget(open_results(chosen.results), chosen.trial_ids)
    print(
        "forgotten, rows and files: "
        + ", ".join(f"{number} {what}" for what, number in gone.items() if number)
    )
    print("'kdray run' on their sweep trains them again; students of a forgotten teacher stay")
    return OK
