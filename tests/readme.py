"""The tables of the README that are made from the code; ``python -m tests.readme`` writes them into
it."""

from __future__ import annotations

import re
from pathlib import Path

from kdray.cli.catalogue import entries
from kdray.results import TABLES

README = Path(__file__).parents[1] / "README.md"
PAPERS = ("noisy_collaboration", "smoothed_models", "current_understanding", "robust_student")


def schema() -> str:
    """A table for each of the four: column, type, unit, meaning."""
    parts = []
    for table, columns in TABLES.items():
        rows = [
            f"| `{column.name}` | {column.type} | {column.unit or '–'} | {column.meaning or '–'} |"
            for column in columns
        ]
        head = ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        parts.append("\n".join([f"**`{table}`**", "", *head, *rows]))
    return "\n\n".join(parts)


def papers() -> str:
    """Which paper has what: a row per method, noise and way of asking the teacher, with the place
    in each paper."""
    rows = [f"| in a sweep file | {' | '.join(PAPERS)} |", f"| --- |{' --- |' * len(PAPERS)}"]
    for what in ("methods", "noise"):
        for entry in entries(what):
            told = [
                line.removeprefix("paper: ") for line in entry.details if line.startswith("paper: ")
            ]
            places = {
                paper: "; ".join(
                    _place(part, paper)
                    for text in told
                    for part in text.split("; ")
                    if paper in part
                )
                for paper in PAPERS
            }
            if any("every paper" in text for text in told):
                places = dict.fromkeys(PAPERS, "baseline")
            if any(places.values()):
                rows.append(
                    f"| {_named(entry.name, entry.details)} | {' | '.join(places.values())} |"
                )
    return "\n".join(rows)


def _place(text: str, paper: str) -> str:
    """Without the sources that the paper cites, and other papers."""
    return re.sub(r"\s*\([^()]*\)", "", text).replace(paper, "").partition(", as ")[0].strip(" ,")


def _named(name: str, details: list[str]) -> str:
    place = next(
        (line.partition(":")[0] for line in details if line.endswith(f": {{name: {name}, …}}")), ""
    )
    return (
        f"`{place}: {name}`"
        if place
        else f"`{name}`"
        if "." in name or name == "supervision"
        else f"`method: {name}`"
    )


def made(text: str) -> str:
    """``text`` with what stands between its marks made anew."""
    for name, table in (("schema", schema()), ("papers", papers())):
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)",
            lambda m, t=table: m[1] + t + m[2],
            text,
            flags=re.DOTALL,
        )
        assert found == 1, name
    return text


if __name__ == "__main__":
    README.write_text(made(README.read_text()))
