"""The warnings of the reader, which name the line of the user's code."""

from __future__ import annotations

import sys
import warnings


class DamagedFile(UserWarning):
    """A file of the results cannot be read; it was left out."""


class ConflictingRows(UserWarning):
    """Two files hold different numbers for the same thing; the newer one was taken."""


class SelectedOnTest(UserWarning):
    """Points were chosen by a number on the test split; on that split it no longer says how well
    they will do."""


class SeveralTeachers(UserWarning):
    """A point of a sweep has students of different teachers."""


class SeveralDevices(UserWarning):
    """Seeds of two points were not paired because they were trained on two kinds of device."""


class SeveralMachines(UserWarning):
    """A time, a speed or memory was averaged, ranked or compared across machines."""


def warn(message: str, kind: type[Warning]) -> None:
    """Warn, naming the line outside this package that led here."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("kdray.results"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)
