"""A name for every number in the robustness table, which is its column in one frame of
everything."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from kdray.results.schema import NUMBER_AXES

OF_TRIAL = ("dataset", "examples")
"""Axes that follow from a trial's data: among the numbers of one evaluation they tell no two
apart."""


def named_numbers(robustness: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``robustness`` with a number that is of no epoch, and their names in
    ``column``."""
    numbers = robustness[robustness["error"].isna() & robustness["epoch"].isna()]
    return numbers.assign(column=column_names(numbers))


def column_names(numbers: pd.DataFrame) -> pd.Series[str]:
    """A name for each row of a robustness table: label.metric, and in brackets what tells its label
    apart and the axes in which the numbers of that name differ."""
    named_by = numbers[["label", "metric", "evaluation_id", *NUMBER_AXES]]
    # Trials are measured alike: there are many rows, but few kinds of them.
    kinds = named_by.drop_duplicates().reset_index(drop=True)
    names = _names(kinds)
    kind = named_by.groupby(list(named_by), dropna=False, sort=False).ngroup()
    return pd.Series(names.to_numpy()[kind.to_numpy()], index=numbers.index, dtype="str")


def _names(numbers: pd.DataFrame) -> pd.Series[str]:
    """The names of rows that are all different."""
    apart = numbers["label"].str.extract(r"\[(.*)\]$", expand=False)
    names = numbers["label"].str.replace(r"\[.*", "", regex=True) + "." + numbers["metric"]
    names = names.where(apart.isna(), names + "|" + apart.astype("str"))
    grouped = numbers.groupby(names)
    for column in NUMBER_AXES:
        if numbers[column].isna().all():
            continue
        # In one trial always, and over the trials where a label came to mean several things.
        differs = grouped[column].transform("nunique", dropna=False) > 1
        if column in OF_TRIAL:
            differs &= grouped["evaluation_id"].transform("nunique") > 1
        stated = f"|{column}=" + numbers[column].map(_short(numbers[column]))
        names = names.where(~differs | numbers[column].isna(), names + stated)
    # Evaluations that differ in something without a column (their seed) are named by identity.
    unlike = numbers.groupby(names)["evaluation_id"].transform("nunique") > 1
    names = names.where(~unlike, names + "|" + numbers["evaluation_id"])
    return names.map(_bracketed)


def _short(values: pd.Series[Any]) -> dict[Any, str]:
    """How each of ``values`` is written: a fraction in six digits, or in all that it has where
    another one is the same in six."""
    found = values.dropna().unique()
    short = {value: f"{value:g}" if isinstance(value, float) else str(value) for value in found}
    times = Counter(short.values())
    return {
        value: text if times[text] == 1 else repr(float(value)) for value, text in short.items()
    }


def _bracketed(name: str) -> str:
    start, *stated = name.split("|")
    return f"{start}[{','.join(stated)}]" if stated else start
