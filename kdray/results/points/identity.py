"""The identity of a point: the fingerprint of its experiment without the seeds that its replicates
differ in.

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
    """The identity of the point of a trial, from the canonical JSON of its experiment: with its own
    seed and that of its teacher as 0, which canonical JSON omits."""
    replicate = _without_seed(json.loads(experiment))
    if isinstance(teacher := replicate.get("teacher"), dict):
        replicate["teacher"] = _without_seed(teacher)
    text = json.dumps(replicate, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_seed(experiment: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in experiment.items() if name != "seed"}


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
