"""What a pretended GPU was asked, and from where."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal

from tests.gpu.operators import LAUNCHING_NOTHING

PACKAGES = ("kdray", "pyautoattack")
"""A line of these is what an operator is called from."""
TESTS = str(Path(__file__).parents[1])

Kind = Literal["operator", "wait", "pageable copy"]


@dataclass(frozen=True)
class Event:
    """Something that happened on the GPU, or with it."""

    kind: Kind
    name: str
    """Of the operator, or of what was waited for or copied."""
    caller: str
    """FILE:LINE in kdray (or the attacks' package); of what a backward pass runs, the line that
    started it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} at {self.caller}"


@dataclass
class Record:
    """All events, in order."""

    events: list[Event] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    """How many events there were when each step of an optimiser was done."""

    def note(self, kind: Kind, name: str) -> None:
        self.events.append(Event(kind, name, caller()))

    def ends_step(self) -> None:
        self.steps.append(len(self.events))

    def step(self, index: int) -> Record:
        """What happened between the ends of the step before and of the one with this index."""
        return Record(self.events[self.steps[index - 1] : self.steps[index]])

    @property
    def launches(self) -> int:
        """Operators that run a kernel; some run several."""
        return sum(
            event.kind == "operator" and event.name not in LAUNCHING_NOTHING
            for event in self.events
        )

    @property
    def stalls(self) -> Counter[str]:
        """Waits for the GPU and copies from pageable memory, with their callers: what keeps the
        processor from running ahead, and what the capture of a CUDA graph forbids."""
        return Counter(str(event) for event in self.events if event.kind != "operator")


def caller() -> str:
    """The innermost line of :data:`PACKAGES` that is being run."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(TESTS):
            for package in PACKAGES:
                _, found, rest = name.rpartition(f"/{package}/")
                if found:
                    return f"{package}/{rest}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"
