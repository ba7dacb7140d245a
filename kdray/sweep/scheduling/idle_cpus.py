"""Whether a phase leaves most of a machine idle, and which setting would use it."""

from __future__ import annotations

from kdray.sweep.definition.file import Request, Role

MANY_CPUS = 4
"""With fewer, what is idle is not worth a word."""


def idle_text(role: Role, request: Request, trials: int, cpus: float) -> str | None:
    """Return a line for people where so few ``trials``, all at once, use at most half of ``cpus``.

    None where each could not have more of them, or where trials share a GPU, which is what they
    wait for.
    """
    used, share = trials * request.cpu, cpus // max(1, trials)
    if not trials or request.gpu or cpus < MANY_CPUS or used > cpus / 2 or share <= request.cpu:
        return None
    what = f"1 {role} uses" if trials == 1 else f"{trials} {role}s use"
    return (
        f"{what} {used:g} of {cpus:g} CPUs; resources.{role}.cpu: {share:g} would use "
        f"{'all' if share * trials == cpus else f'{share * trials:g}'} of them"
    )
