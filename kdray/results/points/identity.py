"""The identity of a point: the fingerprint of its experiment without seeds.

The sweep writes it into ``members``. Rows of schema version 1 lack it: theirs follows from the
``experiment`` in ``trials``, or from the other seeds of the point.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pandas as pd

IDENTIFYING = {"sweep", "role", "case", "swept", "trial_id"}
"""Columns of members from which a point's identity is found where it is missing."""


def point_id_of(experiment: str) -> str:
    """The identity of the point of a trial, from the canonical JSON of its experiment."""
    text = json.dumps(_without_seeds(json.loads(experiment)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_seeds(experiment: dict[str, Any]) -> dict[str, Any]:
    """An experiment whose own seed and those of its teachers are 0, which canonical JSON omits."""
    teacher = experiment.get("teacher")
    rest = {name: part for name, part in experiment.items() if name != "seed"}
    return rest | {"teacher": _without_seeds(teacher)} if isinstance(teacher, dict) else rest


def with_point_ids(members: pd.DataFrame, trials: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """``members`` with a ``point_id`` in every row of a student.

    ``trials`` gives the experiments, and is called only if some row lacks its identity. Where none
    is found, because a trial of an older schema was given up, the swept values stand for it.
    """
    lacking = members["point_id"].isna() & members["role"].eq("student")
    if not lacking.any():
        return members
    found = trials().dropna(subset=["experiment"])
    found = found[found["trial_id"].isin(members.loc[lacking, "trial_id"])]
    experiments = dict(zip(found["trial_id"], map(point_id_of, found["experiment"]), strict=True))
    ids = members["point_id"].astype(object)
    ids = ids.where(~lacking, members["trial_id"].map(experiments))
    # A seed that has no row among the trials is of the point of its siblings, if these are one.
    place = [members[name] for name in ("sweep", "case", "swept")]
    siblings = ids.groupby(place, dropna=False)
    ids = ids.where(ids.notna() | siblings.transform("nunique").ne(1), siblings.transform("first"))
    described = "case " + members["case"].fillna("").astype(str) + members["swept"].fillna("{}")
    ids = ids.where(ids.notna() | ~lacking, described.map(_text_id))
    return members.assign(point_id=ids.astype("str"))


def _text_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
