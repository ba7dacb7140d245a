"""The points of all sweeps, and what each gained over a plain student and what it paid."""

from __future__ import annotations

import pandas as pd

from kdray.results.points.machines import machine_names

POINT = ["sweep", "point"]
CLEAR = 1.0
"""Percentage points of robust accuracy that a gain must have for a price per point: less is within
the spread of seeds."""


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per point with the means of ``clean`` and ``robust`` (fractions) over its seeds, their
    deviations (``… std``) and how many have it (``… n``), and what tells it apart."""
    grouped = rows.groupby(POINT, sort=False)
    out = grouped.agg(
        n=("trial_id", "nunique"),
        case=("case", "first"),
        swept=("swept", "first"),
        plain=("plain", "first"),
        method=("method.name", "first"),
        model=("network", "first"),
        training=("training", "first"),
    )
    for name, column in (("clean", "test_accuracy"), ("robust", "value")):
        out[name], out[f"{name} std"] = grouped[column].mean(), grouped[column].std(ddof=1)
        out[f"{name} n"] = grouped[column].count()
    return out.reset_index()


def with_prices(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`points` with what each gained over the plain student of the same network, data and
    training, and what it paid, in percentage points and in training time; points without a plain
    student are left out.

    The plain student was trained by cross-entropy, or, where there is none, distilled without
    noise; of several the one of the point's own sweep, else of the first by name.
    """
    table = points(rows)
    columns = ["model", "training", *POINT, "clean", "robust", "method"]
    plain = table.loc[table["plain"], columns].add_prefix("plain ")
    pairs = table.merge(
        plain, left_on=["model", "training"], right_on=["plain model", "plain training"]
    )
    pairs["elsewhere"] = pairs["sweep"].ne(pairs["plain sweep"])
    # cross_entropy before kd
    pairs = pairs.sort_values(
        ["plain method", "elsewhere", "plain sweep", "plain point"], kind="stable"
    )
    out = with_seconds(pairs.drop_duplicates(POINT).sort_index(), rows)
    out["gain"] = 100 * (out["robust"] - out["plain robust"])
    out["lost"] = 100 * (out["plain clean"] - out["clean"])
    out["times"] = out["seconds"] / out["plain seconds"]
    clear = out["gain"] >= CLEAR
    out["lost per point"] = (out["lost"] / out["gain"]).where(clear)
    out["seconds per point"] = ((out["seconds"] - out["plain seconds"]) / out["gain"]).where(clear)
    return out


def with_seconds(pairs: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """``pairs`` of a point and its plain student with the mean training time of both, ``seconds``
    and ``plain seconds``, on the one ``machine`` that most seeds of both were trained on; none
    where they share no machine."""
    plain = [f"plain {name}" for name in POINT]
    on_each = (
        rows.assign(machine=machine_names(rows).fillna(""))
        .dropna(subset=["train_seconds"])
        .groupby([*POINT, "machine"])["train_seconds"]
        .agg(seconds="mean", seeds="count")
        .reset_index()
    )
    of_plain = on_each.rename(columns=lambda name: name if name == "machine" else f"plain {name}")
    shared = (
        pairs[[*POINT, *plain]].merge(on_each, on=POINT).merge(of_plain, on=[*plain, "machine"])
    )
    shared["both"] = shared[["seeds", "plain seeds"]].min(axis=1)
    chosen = shared.sort_values(["both", "machine"], ascending=[False, True], kind="stable")
    found = chosen.drop_duplicates(POINT)[[*POINT, "machine", "seconds", "plain seconds"]]
    return pairs.merge(found, on=POINT, how="left").fillna({"machine": ""})
