"""Trials by the first letters of their ids."""

from __future__ import annotations

from collections.abc import Iterable

from kdray.core import InputError
from kdray.results.files.store import Store


def the_one(store: Store, known: Iterable[str], beginning: str) -> str:
    """The trial of ``known`` whose id begins so; :class:`InputError` if none does, or several."""
    matching = [trial_id for trial_id in known if trial_id.startswith(beginning)]
    if len(matching) != 1:
        problem = "no trial" if not matching else f"{len(matching)} trials"
        raise InputError(
            f"{store.place}: {problem} {beginning!r} ('kdray status DIR --trials' lists them)"
        )
    return matching[0]
