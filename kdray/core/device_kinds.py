"""Kinds of device: equal seeds draw the same numbers on one kind only.

A kind is what the column ``device`` of trials holds. A generator of a GPU deals its numbers out by
the number of multiprocessors, so every model of GPU is a kind of its own, and so is each size of
MIG slice, which CUDA names with it. All CPUs are one: they may round differently but draw alike.
"""

from __future__ import annotations

CPU = "cpu"


def draw_alike(one: object, other: object) -> bool:
    """Return whether equal seeds draw the same numbers on two kinds of device. One that nobody
    stored (none, NaN) counts as the same as any."""
    known = isinstance(one, str) and isinstance(other, str)
    return not known or one == other
