"""``kdray schema``: the JSON Schema of a sweep file."""

from __future__ import annotations

import argparse
import json

from kdray.cli.exit_codes import OK
from kdray.cli.output import write_text
from kdray.sweep.definition.plugins import load_installed_plugins
from kdray.sweep.definition.schema import sweep_schema


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    write_text(json.dumps(sweep_schema(), indent=1), chosen.out)
    return OK
