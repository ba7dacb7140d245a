"""How often the processor waits for the GPU in a training step."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

WAITED = "called a synchronizing CUDA operation"
"""What torch warns of in its mode ``warn``."""


class Waits:
    """Counts the waits of every step that is taken inside the block: from the end of an optimiser's
    step to the end of the next one's."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._caught: list[warnings.WarningMessage] = []
        self._ends: list[int] = []
        """How many there had been, at the end of each step."""

    def __enter__(self) -> Self:
        self._caught = self._stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")
        self._stack.callback(torch.cuda.set_sync_debug_mode, "default")
        torch.cuda.set_sync_debug_mode("warn")
        self._stack.callback(register_optimizer_step_post_hook(self._ended).remove)
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def _ended(self, *_: Any) -> None:
        self._ends.append(len(self._caught))

    def of_steps(self) -> list[list[str]]:
        """The waits of each step but the first, each by the line that asked for it."""
        return [
            [_place(warning) for warning in self._caught[begin:end] if _is_wait(warning)]
            for begin, end in pairwise(self._ends)
        ]


def _is_wait(warning: warnings.WarningMessage) -> bool:
    return WAITED in str(warning.message)


def _place(warning: warnings.WarningMessage) -> str:
    path = Path(warning.filename)
    return f"{path.parent.name}/{path.name}:{warning.lineno}"
