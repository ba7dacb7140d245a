"""A CUDA graph without a GPU: operations are noted one by one, and run again on the same memory.

What the processor did meanwhile is not done again, as on a GPU: a number that was read, an epoch
that was looked at, a tensor that was put in another's place are those of the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Operation = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Any]]


class Recorder(TorchDispatchMode):
    """Notes every operation with the memory that it reads and writes."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        done = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, tree_leaves(done)))
        return done


class OperationGraph:
    """Operations on the CPU, recorded and run again as those of a CUDA graph are."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self.operations: list[Operation] = []
        self.replays = 0

    def warming_up(self) -> AbstractContextManager[object]:
        return nullcontext()

    def record(self, run: Callable[[], None], draws: torch.Generator) -> None:
        """A recording does nothing: what it has done here is taken back."""
        tensors = [tensor for module in self._modules for tensor in module.state_dict().values()]
        before = [tensor.clone() for tensor in tensors]
        with Recorder() as recorder, torch.random.fork_rng([]):
            drawn = draws.get_state()
            run()
            draws.set_state(drawn)
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        self.operations = recorder.operations

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, results in self.operations:
            read = {storage(leaf) for leaf in tree_leaves((args, kwargs)) if is_dense(leaf)}
            again = tree_leaves(func(*args, **kwargs))
            for result, value in zip(results, again, strict=True):
                if is_dense(result) and storage(result) not in read:
                    result.copy_(value)


def is_dense(leaf: Any) -> bool:
    return isinstance(leaf, Tensor)


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
