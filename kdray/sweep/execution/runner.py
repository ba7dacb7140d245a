"""The runner of jobs on Ray, which starts with the first job and stops with the block.

What imports ray, which takes seconds, is imported when there is something to run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kdray.results import Store
from kdray.sweep.definition.callbacks import AnyCallback
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.execution.resources import Node, at_once, check, concurrency, granted, this_machine
from kdray.sweep.scheduling.jobs import Jobs
from kdray.sweep.scheduling.options import Options
from kdray.sweep.scheduling.scheduler import Allocation
from kdray.trials.task import Task

if TYPE_CHECKING:
    # which import ray
    from kdray.sweep.execution.callback_adapter import Adapter
    from kdray.sweep.execution.probe import MeasuredShare


class RayRunner:
    """Runs jobs on a Ray cluster, or on a local Ray of its own."""

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        sweep: str = "",
        callbacks: Sequence[AnyCallback] = (),
        warn: Callable[[str], None] = warnings.warn,
    ) -> None:
        """``callbacks`` show the trials as those of ``sweep``, and say through ``warn`` if they
        cannot."""
        self._store, self._options = store, options
        self._sweep, self._callbacks, self._warn = sweep, callbacks, warn
        self._shares: dict[Role, MeasuredShare] = {}
        """By role: what was measured for ``gpu: auto``."""
        self._stack = ExitStack()
        self._nodes: list[Node] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def must_measure(self, role: Role, request: Request) -> bool:
        """Whether the share of a GPU of ``role`` is to be measured yet, on a GPU that is free."""
        return request.gpu == "auto" and role not in self._shares

    def allocate(
        self, phase: str, role: Role, request: Request, candidates: Sequence[Task]
    ) -> Allocation:
        """Start Ray, if need be, and say what each trial gets; :class:`kdray.InputError` if no node
        can run one."""
        nodes, limit = self._cluster(), self._options.max_concurrent
        check(role, request, nodes)
        notes: list[str] = []
        if self.must_measure(role, request):
            self._shares[role] = self._measured(request, role, candidates)
            notes.append(self._shares[role].text)
        share = self._shares[role] if request.gpu == "auto" else None
        if share is not None:
            request = request.model_copy(update={"gpu": share.gpu})
        grant = granted(request)
        if share is not None:
            grant = grant.model_copy(update={"context": share.context, "busy": share.busy})
        notes.append(f"{phase}: {concurrency(request, nodes, limit)}")
        # In a cluster, nodes that join later are used: as many run at once as Ray finds room for.
        width = at_once(request, nodes, limit) if self._options.address is None else limit
        return Allocation(grant, width, tuple(notes))

    def run(self, jobs: Jobs) -> None:
        """Run every job, in processes that end with the call."""
        from kdray.sweep.execution.tune_searcher import run_trials

        run_trials(
            jobs,
            store=self._store,
            data_root=self._options.data,
            callbacks=[partial(self._adapter, callback) for callback in self._callbacks],
        )

    def _adapter(self, callback: AnyCallback) -> Adapter:
        """What shows the trials for one run of Tune."""
        from kdray.sweep.execution.dashboards import adapter_of

        return adapter_of(callback, self._store, self._sweep, self._warn)

    def _measured(self, request: Request, role: Role, candidates: Sequence[Task]) -> MeasuredShare:
        """The share of a GPU that each trial of ``role`` is given."""
        from kdray.sweep.execution.probe import measured

        return measured(request, role, candidates, self._options.data)

    def _cluster(self) -> list[Node]:
        if self._nodes is None:
            from kdray.sweep.execution.tune_searcher import cluster

            options = self._options
            local = this_machine(options.cpus, options.gpus)
            found = cluster(options.address, local, options.runtime_env)
            nodes = self._stack.enter_context(found)
            if options.address is None and len(nodes) == 1:  # Ray does not say what its GPUs are
                nodes = [
                    nodes[0]._replace(gpu_memory=local.gpu_memory, not_shared=local.not_shared)
                ]
            self._nodes = nodes
        return self._nodes
