"""Tables for people (Markdown, LaTeX) and for programs (CSV) from one frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from kdray.core.wording import NONE, of_fewer
from kdray.report.figures.latex import latex, latex_label


class Spread(NamedTuple):
    """Mean and standard deviation over the seeds of one point."""

    mean: float
    std: float
    """ddof 1; NaN for one seed."""
    n: int

    @classmethod
    def of(cls, values: pd.Series[float], scale: float = 1.0) -> Spread:
        """The spread of one number per seed, times ``scale`` (100 for a fraction that is shown as a
        percentage); NaN are left out."""
        numbers = values.dropna().astype(float) * scale
        return cls(float(numbers.mean()), float(numbers.std(ddof=1)), len(numbers))


@dataclass(frozen=True)
class Table:
    """A table, complete. Cells are text, whole numbers, numbers, :class:`Spread`, or None and NaN
    for what is missing."""

    name: str
    """Of its files, without an ending."""
    title: str
    caption: str
    frame: pd.DataFrame
    """As shown, row labels in columns; the index is not shown."""
    digits: int = 2
    """After the point."""
    seeds: str = ""
    """The column with the seeds of each row, if there is one: a spread of fewer says its ``n``."""

    def save(self, folder: Path) -> list[Path]:
        """Write ``name.csv`` and ``name.tex``."""
        folder.mkdir(parents=True, exist_ok=True)
        made = [folder / f"{self.name}.csv", folder / f"{self.name}.tex"]
        for path, text in zip(made, (self.to_csv(), self.to_latex()), strict=True):
            path.write_text(text, encoding="utf-8")
        return made

    def to_csv(self) -> str:
        """The table as CSV at full precision; a column of spreads becomes three: the mean under its
        own name, ``… std`` and ``… n``."""
        parts: dict[str, pd.Series[float]] = {}
        for name in self.frame:
            cells = self.frame[name]
            spreads = [cell for cell in cells if isinstance(cell, Spread)]
            if not spreads:
                parts[str(name)] = cells
                continue
            for ending, field in (("", "mean"), (" std", "std"), (" n", "n")):
                parts[f"{name}{ending}"] = cells.map(
                    lambda cell, f=field: (
                        getattr(cell, f)
                        if isinstance(cell, Spread)
                        else (cell if f == "mean" else None)
                    )
                )
        return pd.DataFrame(parts).to_csv(index=False)

    def to_markdown(self) -> str:
        """The table in Markdown, as GitHub shows it."""
        rows = self._cell_texts(lambda text: " ".join(text.replace("|", "\\|").split("\n")), "±")
        rule = ["---" if left else "---:" for left in self._are_text()]
        return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))

    def to_latex(self) -> str:
        """The table as a ``tabular`` in ``table``, with booktabs' rules."""
        rows = [" & ".join(row) + r" \\" for row in self._cell_texts(latex, r"$\pm$")]
        columns = "".join("l" if left else "r" for left in self._are_text())
        return "\n".join(
            (
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(self.caption)}}}",
                rf"\label{{tab:{latex_label(self.name)}}}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                rows[0],
                r"\midrule",
                *rows[1:],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            )
        )

    def _are_text(self) -> list[bool]:
        """Whether each column has words in it."""
        return [
            bool(self.frame[name].map(lambda cell: isinstance(cell, str)).any())
            for name in self.frame
        ]

    def _cell_texts(self, escaped: Callable[[str], str], plus_minus: str) -> list[list[str]]:
        cells = self.frame.astype(object).to_numpy().tolist()
        seeds = self.frame[self.seeds].tolist() if self.seeds else [None] * len(cells)
        return [
            [escaped(str(name)) for name in self.frame],
            *(
                [
                    escaped(cell) if isinstance(cell, str) else self._number(cell, plus_minus, of)
                    for cell in row
                ]
                for row, of in zip(cells, seeds, strict=True)
            ),
        ]

    def _number(self, cell: object, plus_minus: str, seeds: int | None = None) -> str:
        if isinstance(cell, Spread):
            mean = self._number(float(cell.mean), plus_minus)
            spread = "" if math.isnan(cell.std) else f" {plus_minus} {cell.std:.{self.digits}f}"
            return mean + spread + of_fewer(cell.n, seeds or 0)
        if isinstance(cell, Integral):
            return f"{int(cell)}"
        if isinstance(cell, Real) and not math.isnan(cell):
            return f"{float(cell):z.{self.digits}f}"  # z: no minus before a zero
        return NONE
