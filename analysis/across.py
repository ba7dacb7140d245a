"""What robustness costs, across the sweeps of all papers: clean against robust accuracy, and the
price of a point.

    python analysis/across.py RESULTS --out DIR

Data sets are never mixed: there is a figure for each. Only numbers of one attack are compared: a
panel for each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from textwrap import fill

import pandas as pd

from kdray.report.figures.caption import caption, data_name
from kdray.report.figures.charts import scatter
from kdray.report.figures.drawing import labelled, legend, panels
from kdray.report.figures.figure import Figure, Missing
from kdray.report.figures.tables import Spread, Table
from kdray.report.papers.attacks import attack_names, attack_text, attacks, left_out_text
from kdray.report.papers.comparable import by_data_set
from kdray.report.papers.script import run
from kdray.report.papers.snapshot import Snapshot
from kdray.results.points.machines import machine_names
from kdray.results.points.pareto import fronts
from papers.across.points import CLEAR, POINT, points, with_prices
from papers.across.students import described

EVALUATE = "kdray evaluate RESULTS --suite sweeps/suites/full.yaml"
TITLE_LETTERS = 50
"""How many fit above a panel."""


def by_data(snapshot: Snapshot) -> Iterator[tuple[str, str, pd.DataFrame, list[pd.DataFrame]]]:
    """Each data set, by its name and by that of its files, with its students and what was measured
    of them under each attack."""
    for name, file, trials in by_data_set(described(snapshot)):
        yield data_name(name), file, trials, attacks(snapshot, trials)


def trade_off(snapshot: Snapshot) -> Iterator[Figure | Missing]:
    """Clean against robust accuracy of all points of all sweeps."""
    for name, file, trials, found in by_data(snapshot):
        title = f"Clean against robust accuracy on {name}"
        if not found:
            yield Missing(
                f"trade_off_{file}", title, f"no student was attacked with PGD: {EVALUATE}"
            )
            continue
        order = [
            sweep for sweep in snapshot.sweeps if any(sweep in set(rows["sweep"]) for rows in found)
        ]
        figure, all_axes = panels(len(found), columns=min(2, len(found)), height=2.9)
        for axes, attack, rows in zip(all_axes, attack_names(found), found, strict=True):
            scatter(axes, points(rows), "clean", "robust", by="sweep", order=order)
            head = fill(attack, TITLE_LETTERS)
            labelled(axes, "Test accuracy (%)", "Accuracy under PGD (%)", head)
        legend(figure)
        without = sorted(set(trials["sweep"]) - set(order))
        what = (
            "Every point of every sweep: mean accuracy on clean test images against "
            "accuracy under attack, a panel for each "
            "attack; the line is the Pareto front, beyond which no point is better in "
            "both. Networks and training differ "
            "between sweeps."
        )
        what += left_out_text(found)
        if without:
            what += f" Not attacked: {', '.join(without)} ({EVALUATE})."
        yield Figure(f"trade_off_{file}", title, caption(what, pd.concat(found), POINT), figure)


def on_the_front(snapshot: Snapshot) -> Iterator[Table]:
    """The points than which no other is better in clean and in robust accuracy."""
    for name, file, _, found in by_data(snapshot):
        parts = []
        for attack, rows in zip(attack_names(found), found, strict=True):
            table = points(rows)
            front = table[fronts(table[["clean", "robust"]], ["max", "max"]) == 0].sort_values(
                "clean"
            )
            parts.append(
                pd.DataFrame(
                    {
                        "attack": attack,
                        "sweep": front["sweep"],
                        "case": front["case"].fillna(""),
                        "swept": front["swept"],
                        "clean (%)": _spreads(front, "clean"),
                        "robust (%)": _spreads(front, "robust"),
                        "n": front["n"],
                    }
                )
            )
        if parts:
            what = "The points on the Pareto fronts of clean and robust accuracy."
            what += left_out_text(found)
            told = caption(what, pd.concat(found), POINT, band="±")
            yield Table(
                f"front_{file}",
                f"Pareto fronts on {name}",
                told,
                pd.concat(parts, ignore_index=True),
                seeds="n",
            )


def prices(snapshot: Snapshot) -> Iterator[Figure | Table | Missing]:
    """What a point of robust accuracy costs in clean accuracy and in training time."""
    for name, file, _, found in by_data(snapshot):
        title = f"What robustness costs on {name}"
        table = with_prices(found[0]) if found else pd.DataFrame()
        if table.empty:
            reason = (
                "no student was attacked with PGD"
                if not found
                else "no plain student to compare with was attacked"
            )
            yield Missing(f"cost_{file}", title, f"{reason}: {EVALUATE}")
            continue
        rows = found[0].merge(table[POINT], on=POINT)
        baseline = " or ".join(sorted(table["plain method"].unique())).replace("_", " ")
        what = (
            "against the plain student of the same network, data and training (by "
            f"{baseline}, without noise; of the "
            "point's own sweep where it has one, else of another's). "
            f"Attack: {attack_text(rows)}. Time is of the student's own training"
            f"{_machines_text(rows)}"
        )
        order = [sweep for sweep in snapshot.sweeps if sweep in set(table["sweep"])]
        yield cost_figure(
            file,
            title,
            table,
            order,
            f"Robust accuracy gained by each point and what it paid, {what}",
            rows,
        )
        yield cost_table(
            file,
            title,
            table,
            f"Points by the robust accuracy that they gained, {what}; a price per point only "
            f"where at least {CLEAR:g} was gained",
            rows,
        )


def _machines_text(rows: pd.DataFrame) -> str:
    """What a caption says of where the times of :func:`with_seconds` were taken."""
    count = machine_names(rows).nunique()
    if count < 2:
        return ""
    return (
        f", of {count} machines: of a point and its plain student on the one machine that most "
        "seeds of both were trained on, none where they share no machine"
    )


def cost_figure(
    file: str, title: str, table: pd.DataFrame, order: Sequence[str], what: str, rows: pd.DataFrame
) -> Figure:
    """Clean accuracy lost and training time against the robust accuracy gained."""
    figure, (left, right) = panels(2, height=2.7)
    for axes, y, label in (
        (left, "lost", "Clean accuracy lost (points)"),
        (right, "times", "Training time (times the plain)"),
    ):
        scatter(
            axes,
            table,
            "gain",
            y,
            by="sweep",
            order=order,
            modes=("max", "min"),
            percent=(False, False),
        )
        labelled(
            axes, "Accuracy under PGD gained (points)", label, "(a)" if axes is left else "(b)"
        )
    legend(figure)
    what += ". The line: least paid for so much gained"
    return Figure(f"cost_{file}", title, caption(what, rows, POINT, band=""), figure)


def cost_table(file: str, title: str, table: pd.DataFrame, what: str, rows: pd.DataFrame) -> Table:
    """The same as numbers, the largest gain first."""
    best = table.sort_values("gain", ascending=False, kind="stable")
    frame = pd.DataFrame(
        {
            "sweep": best["sweep"],
            "case": best["case"].fillna(""),
            "swept": best["swept"],
            "clean (%)": _spreads(best, "clean"),
            "robust (%)": _spreads(best, "robust"),
            "n": best["n"],
            "gained": best["gain"],
            "lost": best["lost"],
            "time, times": best["times"],
            "lost per point": best["lost per point"],
            "seconds per point": best["seconds per point"],
        }
    )
    if machine_names(rows).nunique() > 1:
        frame["machine"] = best["machine"]
    return Table(
        f"cost_table_{file}",
        f"{title}: numbers",
        caption(what, rows, POINT, band="±"),
        frame,
        seeds="n",
    )


def _spreads(table: pd.DataFrame, name: str) -> list[Spread]:
    parts = zip(table[name], table[f"{name} std"], table[f"{name} n"], strict=True)
    return [Spread(100 * mean, 100 * std, n) for mean, std, n in parts]


def main(argv: Sequence[str] | None = None) -> int:
    return run("What robustness costs, across papers", (trade_off, on_the_front, prices), argv)


if __name__ == "__main__":
    sys.exit(main())
