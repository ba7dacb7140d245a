"""A GPU where there is none: within :func:`pretending` torch believes in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from kdray.machine import hardware
from kdray.models import facts
from tests.gpu.record import Record
from tests.gpu.tensor import GPU, GpuOrCpuGenerator, Machine

MEMORY = 141 * 2**30


@contextmanager
def pretending() -> Iterator[Record]:
    """Within it ``cuda:0`` can be computed on, as a trial does; what happens there is recorded."""
    record = Record()
    machine = Machine(record)
    with ExitStack() as stack:
        stack.enter_context(_restored_switches())
        hardware.make_repeatable(GPU, threads=1)  # imports parts of torch, which look at its whole
        for name, value in _cuda(record).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.cuda.random, "current_device", return_value=0))
        stack.enter_context(mock.patch.object(torch.cuda.random, "manual_seed", _ignoring))
        stack.enter_context(mock.patch.object(torch, "Generator", GpuOrCpuGenerator))
        stack.enter_context(
            mock.patch.object(torch.Tensor, "pin_memory", lambda t: machine.pinned(t))
        )
        stack.enter_context(mock.patch.object(facts, "blueprint", _outside(facts.blueprint)))
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.callback(GpuOrCpuGenerator.of_gpu.clear)
        hook = register_optimizer_step_post_hook(lambda *_: record.ends_step())
        stack.callback(hook.remove)
        stack.enter_context(machine)
        yield record


def _cuda(record: Record) -> dict[str, Any]:
    """What of ``torch.cuda`` a trial asks."""
    return {
        "_lazy_init": _ignoring,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda *_, **__: True,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "_exchange_device": lambda _: 0,
        "_maybe_exchange_device": lambda _: 0,
        "get_device_properties": lambda *_: SimpleNamespace(
            total_memory=MEMORY, major=9, name="pretended"
        ),
        "get_device_name": lambda *_: "pretended",
        "mem_get_info": lambda *_: (MEMORY, MEMORY),
        "max_memory_reserved": lambda *_: 0,
        "memory_reserved": lambda *_: 0,
        "set_per_process_memory_fraction": _ignoring,
        "reset_peak_memory_stats": _ignoring,
        "empty_cache": _ignoring,
        "manual_seed_all": _ignoring,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": _ignoring,
        "synchronize": lambda *_: record.note("wait", "synchronize"),
    }


def _ignoring(*args: Any, **kwargs: Any) -> None:
    pass


def _outside(function: Any) -> Any:
    """``function``, which works on "meta" itself, run where nothing is pretended."""

    def run(*args: Any) -> Any:
        with torch.utils._python_dispatch._disable_current_modes():
            return function(*args)

    return run


@contextmanager
def _restored_switches() -> Iterator[None]:
    """Switches of the process that a trial on a GPU sets are as before afterwards."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    rounding = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    replacing = torch.__future__.get_overwrite_module_params_on_conversion()
    lifting = torch._C._only_lift_cpu_tensors()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # as other classes need it
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=…) copies where it is seen
    try:
        with mock.patch.dict("os.environ"):
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(lifting)
        torch.__future__.set_overwrite_module_params_on_conversion(replacing)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = rounding
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(deterministic)
