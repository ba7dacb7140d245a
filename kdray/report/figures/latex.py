"""Text as LaTeX prints it with its default fonts, by any of its engines."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

COMMANDS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row it would be an argument of the row before
    "*": "{*}",
    "\n": " ",
    "\t": " ",
}
"""What LaTeX reads as a command, or prints as something else."""
SIGNS = {
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "∓": r"$\mp$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "·": r"$\cdot$",
    "⋅": r"$\cdot$",
    "∘": r"$\circ$",
    "°": r"$^{\circ}$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "≡": r"$\equiv$",
    "∼": r"$\sim$",
    "∝": r"$\propto$",
    "∈": r"$\in$",
    "∉": r"$\notin$",
    "∪": r"$\cup$",
    "∩": r"$\cap$",
    "∑": r"$\sum$",
    "∏": r"$\prod$",
    "∫": r"$\int$",
    "√": r"$\surd$",
    "∂": r"$\partial$",
    "∇": r"$\nabla$",
    "∆": r"$\Delta$",
    "∞": r"$\infty$",
    "ℓ": r"$\ell$",
    "‖": r"$\Vert$",
    "∥": r"$\Vert$",
    "′": r"$'$",
    "″": r"$''$",
    "→": r"$\to$",
    "←": r"$\leftarrow$",
    "↔": r"$\leftrightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "⇒": r"$\Rightarrow$",
    "µ": r"$\mu$",
    "¬": r"$\neg$",
    "ς": r"$\varsigma$",
    "ϵ": r"$\epsilon$",
    "ϑ": r"$\vartheta$",
    "ϕ": r"$\phi$",
    "\u00a0": "~",
}
"""Signs that LaTeX's default fonts lack."""
LATIN_LIMIT = 0x180
"""Letters with accents before this character are in every LaTeX's default fonts."""
_GREEK = re.compile(r"GREEK (?P<size>SMALL|CAPITAL) LETTER (?P<name>[A-Z]+)$")
_LIKE_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True))


def latex(text: str) -> str:
    """Return ``text`` written so that LaTeX prints it as it is."""
    return "".join(map(_written, unicodedata.normalize("NFC", text)))


def latex_label(text: str) -> str:
    """Return ``text`` as the name of a reference: plain letters, digits, hyphens and
    underscores."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._:-]+", "-", plain)


@cache
def _written(sign: str) -> str:
    """Return one character for LaTeX; one that it cannot print stays as it is."""
    if sign in COMMANDS:
        return COMMANDS[sign]
    if sign in SIGNS:
        return SIGNS[sign]
    if ord(sign) < LATIN_LIMIT:
        return _level(sign) or sign
    if sign in _LIKE_LATIN:
        return f"$\\mathrm{{{_LIKE_LATIN[sign]}}}$"
    if greek := _GREEK.fullmatch(unicodedata.name(sign, "")):
        name = {"LAMDA": "lambda"}.get(greek["name"], greek["name"].lower())
        return f"$\\{name if greek['size'] == 'SMALL' else name.capitalize()}$"
    return _level(sign) or sign


def _level(sign: str) -> str | None:
    """Return a raised or lowered digit or sign (² or ₀); None for another character."""
    kind, _, plain = unicodedata.decomposition(sign).partition(" ")
    level = {"<super>": "^", "<sub>": "_"}.get(kind)
    if level is None or " " in plain:
        return None
    inner = latex(chr(int(plain, 16))).strip("$")
    return f"${level}{{{inner}}}$"
