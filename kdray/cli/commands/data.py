"""``kdray data``: fetching and checking data sets."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import FAILED, OK
from kdray.cli.output import complain, reader_may_leave
from kdray.core import parse, tag_of, value_types
from kdray.data import AnyData, ImageData, data_root
from kdray.sweep.definition.plugins import load_installed_plugins


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    kinds = {tag_of(k): k for k in value_types(AnyData) if issubclass(k, ImageData)}
    if chosen.name not in kinds:
        parse(AnyData, {"name": chosen.name}, "NAME")  # type: ignore[arg-type]  # says what is allowed
    obtained = kinds[chosen.name].obtain(data_root(chosen.data), fetch=not chosen.check)
    with reader_may_leave():
        for line in obtained.found:
            print(line)
    for problem in obtained.problems:
        complain(f"kdray: {problem}")
    return OK if obtained.complete else FAILED
