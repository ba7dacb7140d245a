"""Names that people give: of cases, of classes.

A letter with an accent is one character (composed), or the letter and its accent (decomposed, as
macOS writes names of files): both look the same, so they are the same name. Paths are no names: a
file system tells them apart.
"""

from __future__ import annotations

import unicodedata


def composed(name: str) -> str:
    """Return the form of ``name`` in which names are compared, sorted and kept (Unicode's NFC)."""
    return unicodedata.normalize("NFC", name)


def is_name(value: object, name: str) -> bool:
    """Tell whether ``value`` is ``name``, whichever way its accents are written."""
    return isinstance(value, str) and composed(value) == composed(name)
