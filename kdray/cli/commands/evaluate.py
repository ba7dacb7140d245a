"""``kdray evaluate``: new evaluations of stored weights."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import FAILED, OK
from kdray.cli.output import reader_may_leave
from kdray.cli.summary import print_summary
from kdray.core import parse
from kdray.data import data_root
from kdray.sweep.definition.file import Request
from kdray.sweep.definition.plugins import load_installed_plugins
from kdray.sweep.evaluate import evaluate, load_suite
from kdray.sweep.scheduling.options import Options


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    options = Options(
        address=chosen.address,
        retry_failed=chosen.retry_failed,
        max_concurrent=chosen.max_concurrent,
        cpus=chosen.cpus,
        gpus=chosen.gpus,
        data=data_root(chosen.data),
    )
    summary = evaluate(
        chosen.results,
        load_suite(chosen.suite),
        trials=chosen.trial,
        role=chosen.role,
        request=parse(Request, {"cpu": chosen.cpu, "gpu": chosen.gpu}, ""),
        options=options,
    )
    with reader_may_leave():
        print_summary(summary, chosen.results, "measured")
    return FAILED if summary.failures else OK
