"""What robustness costs, across the sweeps of all papers: clean against robust accuracy, and the
price of a point.

    python analysis/across.py RESULTS --out DIR

Data sets are never mixed: there is a figure for each. Only numbers of one attack are compared: a
panel for each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import pandas as pd

from kdray.report.figures.caption import caption, data_name
from kdray.report.figures.charts import scatter
from kdray.report.figures.drawing import labelled, legend, panels
from kdray.report.figures.figure import Figure, Missing
from kdray.report.figures.tables import Spread, Table
from kdray.report.papers.attacks import attack_name, attack_text, attacks
from kdray.report.papers.comparable import by_data_set, devices_text
from kdray.report.papers.script import run
from kdray.report.papers.snapshot import Snapshot
from kdray.results.points.pareto import fronts

EVALUATE = "kdray evaluate RESULTS --suite sweeps/suites/full.yaml"
POINT = ["sweep", "point"]
CLEAR = 1.0
"""Percentage points of robust accuracy that a gain must have for a price per point: less is within
the spread of seeds."""

WATCHED = ("training.monitor", "training.gradients")
"""Columns of what is measured while training, which does not change it."""

NOISES = ("noise.input", "noise.labels", "model.weight_noise")
"""Sections that only something noisy has."""
DRAWS = (
    "model.dropout",
    "model.input_sigma",
    "supervision.smoothing.samples",
    "supervision.virtual.probability",
)
"""Columns that hold anything but 0 only where something else is drawn."""
STRENGTHS = ("sigma", "rate", "probability")
"""Fields of a noise by which, at 0, it does nothing."""
PLAIN = ("cross_entropy", "kd")
"""Methods of a plain student and of an ordinary teacher."""


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per point with the means of ``clean``, ``robust`` (fractions) and ``seconds`` over its
    seeds, their deviations (``… std``), and what tells it apart."""
    grouped = rows.groupby(POINT, sort=False)
    out = grouped.agg(
        n=("seed", "nunique"),
        case=("case", "first"),
        swept=("swept", "first"),
        plain=("plain", "first"),
        method=("method.name", "first"),
        model=("network", "first"),
        training=("training", "first"),
    )
    for name, column in (
        ("clean", "test_accuracy"),
        ("robust", "value"),
        ("seconds", "train_seconds"),
    ):
        out[name], out[f"{name} std"] = grouped[column].mean(), grouped[column].std(ddof=1)
    return out.reset_index()


def described(snapshot: Snapshot) -> pd.DataFrame:
    """All students of all sweeps, with ``network``, ``training`` (of the data and of what it begins
    with too; each its configuration as text), ``plain`` and ``swept`` (as text)."""
    everyone = snapshot.all_students()
    swept = everyone["swept"].map(_in_words)
    network = _as_text(everyone, ["model."])
    training = _as_text(everyone, ["training.", "data.", "init."])
    return everyone.assign(
        network=network, training=training, swept=swept, plain=_is_plain(everyone)
    )


def _as_text(trials: pd.DataFrame, sections: Sequence[str]) -> list[str]:
    """The configuration under ``sections``, without what is compared (what a network draws) and
    what is only watched while training."""
    columns = sorted(
        name
        for name in trials.columns
        if name.startswith(tuple(sections)) and not name.startswith((*DRAWS, *WATCHED))
    )
    return ["/".join(map(str, row)) for row in trials[columns].itertuples(index=False)]


def _in_words(swept: str) -> str:
    return ", ".join(f"{path} {_short(value)}" for path, value in json.loads(swept).items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _is_plain(trials: pd.DataFrame) -> pd.Series[bool]:
    """Trained without noise of any kind: by cross-entropy alone, or by distilling from an ordinary
    teacher."""
    plain = trials["method.name"].isin(PLAIN)
    above = ""
    while any(name.startswith(above) for name in map(str, trials)):
        plain &= ~_is_noisy(trials, above)
        above += "teacher."
        if (method := f"{above}method.name") in trials:
            plain &= trials[method].isin(PLAIN) | trials[method].isna()
    return plain


def _is_noisy(trials: pd.DataFrame, above: str) -> pd.Series[bool]:
    """Whether anything is drawn in the training of each student itself or, with ``teacher.`` for
    ``above``, of its teacher."""
    noisy = pd.Series(False, trials.index)
    for section in NOISES:
        fields = [name for name in map(str, trials) if name.startswith(f"{above}{section}.")]
        silent = [name for name in fields if name.rpartition(".")[2] in STRENGTHS]
        noisy |= trials[fields].notna().any(axis=1) & ~trials[silent].eq(0).any(axis=1)
    draws = [name for name in (f"{above}{each}" for each in DRAWS) if name in trials]
    noisy |= trials[draws].fillna(0).ne(0).any(axis=1)
    if (logits := f"{above}supervision.noise") in trials:
        noisy |= trials[logits].fillna("[]").map(_disturbs)
    return noisy


def _disturbs(noises: str) -> bool:
    """Whether any of the noises on a teacher's logits does anything."""
    return any(
        all(noise.get(strength, 1) != 0 for strength in STRENGTHS) for noise in json.loads(noises)
    )


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
        for axes, rows in zip(all_axes, found, strict=True):
            scatter(axes, points(rows), "clean", "robust", by="sweep", order=order)
            labelled(axes, "Test accuracy (%)", "Accuracy under PGD (%)", attack_name(rows))
        legend(figure)
        without = sorted(set(trials["sweep"]) - set(order))
        what = (
            "Every point of every sweep: mean accuracy on clean test images against "
            "accuracy under attack, a panel for each "
            "attack; the line is the Pareto front, beyond which no point is better in "
            "both. Networks and training differ "
            "between sweeps."
        )
        if without:
            what += f" Not attacked: {', '.join(without)} ({EVALUATE})."
        yield Figure(f"trade_off_{file}", title, caption(what, pd.concat(found), POINT), figure)


def on_the_front(snapshot: Snapshot) -> Iterator[Table]:
    """The points than which no other is better in clean and in robust accuracy."""
    for name, file, _, found in by_data(snapshot):
        parts = []
        for rows in found:
            table = points(rows)
            front = table[fronts(table[["clean", "robust"]], ["max", "max"]) == 0].sort_values(
                "clean"
            )
            parts.append(
                pd.DataFrame(
                    {
                        "attack": attack_name(rows),
                        "sweep": front["sweep"],
                        "case": front["case"].fillna(""),
                        "swept": front["swept"],
                        "clean (%)": _spreads(front, "clean"),
                        "robust (%)": _spreads(front, "robust"),
                    }
                )
            )
        if parts:
            what = "The points on the Pareto fronts of clean and robust accuracy"
            told = caption(what, pd.concat(found), POINT, band="±")
            yield Table(
                f"front_{file}",
                f"Pareto fronts on {name}",
                told,
                pd.concat(parts, ignore_index=True),
            )


def with_prices(table: pd.DataFrame) -> pd.DataFrame:
    """``points`` with what each gained over the plain student of the same network, data and
    training, and what it paid, in percentage points and in training time; points without a plain
    student are left out.

    The plain student was trained by cross-entropy, or, where there is none, distilled without
    noise; of several the one of the point's own sweep, else of the first by name.
    """
    columns = ["model", "training", *POINT, "clean", "robust", "seconds", "method"]
    plain = table.loc[table["plain"], columns].add_prefix("plain ")
    pairs = table.merge(
        plain, left_on=["model", "training"], right_on=["plain model", "plain training"]
    )
    pairs["elsewhere"] = pairs["sweep"].ne(pairs["plain sweep"])
    # cross_entropy before kd
    pairs = pairs.sort_values(
        ["plain method", "elsewhere", "plain sweep", "plain point"], kind="stable"
    )
    out = pairs.drop_duplicates(POINT).sort_index()
    out["gain"] = 100 * (out["robust"] - out["plain robust"])
    out["lost"] = 100 * (out["plain clean"] - out["clean"])
    out["times"] = out["seconds"] / out["plain seconds"]
    clear = out["gain"] >= CLEAR
    out["lost per point"] = (out["lost"] / out["gain"]).where(clear)
    out["seconds per point"] = ((out["seconds"] - out["plain seconds"]) / out["gain"]).where(clear)
    return out


def prices(snapshot: Snapshot) -> Iterator[Figure | Table | Missing]:
    """What a point of robust accuracy costs in clean accuracy and in training time."""
    for name, file, _, found in by_data(snapshot):
        title = f"What robustness costs on {name}"
        table = with_prices(points(found[0])) if found else pd.DataFrame()
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
            f"{devices_text(rows)}"
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
            "gained": best["gain"],
            "lost": best["lost"],
            "time, times": best["times"],
            "lost per point": best["lost per point"],
            "seconds per point": best["seconds per point"],
        }
    )
    return Table(
        f"cost_table_{file}", f"{title}: numbers", caption(what, rows, POINT, band="±"), frame
    )


def _spreads(table: pd.DataFrame, name: str) -> list[Spread]:
    parts = zip(table[name], table[f"{name} std"], table["n"], strict=True)
    return [Spread(100 * mean, 100 * std, n) for mean, std, n in parts]


def main(argv: Sequence[str] | None = None) -> int:
    return run("What robustness costs, across papers", (trade_off, on_the_front, prices), argv)


if __name__ == "__main__":
    sys.exit(main())
