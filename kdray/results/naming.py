"""A name for every number in the robustness table, which is its column in one frame of
everything."""

from __future__ import annotations

import pandas as pd

from kdray.results.files.newest import VARYING


def named_numbers(robustness: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``robustness`` with a number that is of no epoch, and their names in
    ``column``."""
    numbers = robustness[robustness["error"].isna() & robustness["epoch"].isna()]
    return numbers.assign(column=column_names(numbers))


def column_names(numbers: pd.DataFrame) -> pd.Series[str]:
    """A name for each row of a robustness table: label.metric, and in brackets whatever else tells
    its numbers apart."""
    told_apart = numbers[["label", "metric", "evaluation_id", *VARYING]]
    # Trials are measured alike: so many rows, so few kinds of them.
    kinds = told_apart.drop_duplicates()
    of_kind = _names(kinds.reset_index(drop=True)).to_numpy()
    kind = told_apart.groupby(list(told_apart), dropna=False, sort=False).ngroup()
    return pd.Series(of_kind[kind.to_numpy()], index=numbers.index, dtype="str")


def _names(numbers: pd.DataFrame) -> pd.Series[str]:
    """The names of rows that are all different."""
    names = numbers["label"] + "." + numbers["metric"]
    grouped = numbers.groupby(names)
    for column in VARYING:
        if numbers[column].isna().all():
            continue
        # In one trial always, and over the trials where a label came to mean several things.
        differs = grouped[column].transform("nunique", dropna=False) > 1
        if column == "examples":  # of one evaluation they differ with the data, not in meaning
            differs &= grouped["evaluation_id"].transform("nunique") > 1
        stated = numbers[column].map(
            lambda value, c=column: f"{c}={value:g}" if isinstance(value, float) else f"{c}={value}"
        )
        names = names.where(~differs | numbers[column].isna(), names + "|" + stated)
    # What is left are evaluations that differ in something without a column (their seed): their
    # identity tells.
    unlike = numbers.groupby(names)["evaluation_id"].transform("nunique") > 1
    names = names.where(~unlike, names + "|" + numbers["evaluation_id"])
    return names.map(_bracketed)


def _bracketed(name: str) -> str:
    start, *stated = name.split("|")
    return f"{start}[{','.join(stated)}]" if stated else start
