"""``kdray run``: whatever a sweep's results lack."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kdray.cli.exit_codes import FAILED, OK
from kdray.cli.output import reader_may_leave
from kdray.cli.summary import print_summary, results_of
from kdray.sweep.definition.plugins import worker_env
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.execution.resources import check, this_machine


def execute(chosen: argparse.Namespace) -> int:
    sweep, results = (
        load_sweep(chosen.sweep, set=chosen.set, smoke=chosen.smoke),
        results_of(chosen),
    )
    with _early_ray(chosen, sweep, results):
        from kdray.cli.tables import print_points
        from kdray.sweep.run import run
        from kdray.sweep.scheduling.progress import Progress

        summary = run(
            sweep,
            results,
            address=chosen.address,
            retry_failed=chosen.retry_failed,
            max_concurrent=chosen.max_concurrent,
            cpus=chosen.cpus,
            gpus=chosen.gpus,
            data=chosen.data,
            progress=Progress(),
        )
    with reader_may_leave():
        print_points(results, sweep.name)
        print_summary(summary, results)
    return FAILED if summary.failures else OK


def _early_ray(
    chosen: argparse.Namespace, sweep: Sweep, results: str
) -> AbstractContextManager[None]:
    """A local Ray that starts while the rest of a run is imported, where one is sure to be needed:
    the results are empty.

    Where another program calls this, there may be a Ray of its own.
    """
    new = "://" not in results and not any(Path(results).expanduser().glob("trials/*"))
    if (
        chosen.address is not None
        or not chosen.own_process
        or not new
        or worker_env(sweep.file.resources.runtime_env)
    ):
        return nullcontext()
    from kdray.sweep.execution.cluster import started_early  # ray takes seconds

    node = this_machine(chosen.cpus, chosen.gpus)
    for role in sweep.roles:
        check(role, getattr(sweep.file.resources, role), [node])
    return started_early(node)
