"""The sweep file that repeats one trial, from its row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from kdray.core.wording import is_missing

Row = Mapping[str, Any]

INHERITED = ("data", "training")
"""Parts of a student's description that its teacher in a sweep file inherits, field by field."""


class _Dumper(yaml.SafeDumper):
    """Block style, short lists on one line, floats as kdray reads them."""


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    plain = all(not isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # In double quotes what kdray's scalars, which are not quite PyYAML's, could take for something
    # else.
    plain = text.replace("_", "").isalpha() and text.lower() not in ("null", "true", "false")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


_Dumper.add_representer(list, _list)
_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)


def rerun_blocks(
    trial: Row, member: Row | None, evaluations: Sequence[tuple[str, str]]
) -> list[str]:
    """Return the sweep file in parts, many of which a sweep's trials share; joined, they are the
    file.

    ``member`` says how the trial's teacher was chosen; none if the trial is a teacher itself.
    ``evaluations`` are those of the trial: label and JSON.
    """
    described = json.loads(trial["experiment"])
    seed = described.pop("seed", 0)
    if (teacher := described.get("teacher")) is not None:
        selection = _teacher_selection(teacher.pop("seed", 0), member)
        described["teacher"] = _explicit(teacher, described, trial) | selection
    # What tells a label of the results apart stands in brackets, which a file must not have.
    labels = [label.partition("[")[0] for label, _ in evaluations]
    suite = [
        {
            "label": label if labels.count(label) == 1 else f"{label}-{number}",
            **json.loads(evaluation),
        }
        for number, (label, (_, evaluation)) in enumerate(zip(labels, evaluations, strict=True))
    ]
    head = (
        f"# Trial {trial['trial_id']}: the one with seed {seed}.\nname: "
        f"rerun-{trial['trial_id']}\nseeds: [{seed}]\n"
    )
    parts = [
        head,
        "experiment:\n",
        *(_block(json.dumps({key: part})) for key, part in described.items()),
    ]
    return [*parts, _suite(json.dumps(suite))] if suite else parts


@cache
def _block(text: str) -> str:
    """Return a part of the experiment as indented YAML; trials share most of theirs."""
    return "".join(f"  {line}" for line in _yaml(json.loads(text)).splitlines(keepends=True))


@cache
def _suite(text: str) -> str:
    return _yaml({"evaluate": {"suite": json.loads(text)}})


def _explicit(teacher: dict[str, Any], student: dict[str, Any], trial: Row) -> dict[str, Any]:
    """Return ``teacher`` with its defaults written out wherever it would inherit something else
    from its student."""
    out = dict(teacher)
    for part in INHERITED:
        given = teacher.get(part, {})
        lacks = [key for key in student[part] if key not in given and key != "name"]
        out[part] = given | {key: _stated(trial, f"teacher.{part}.{key}") for key in lacks}
    return out


def _stated(trial: Row, path: str) -> Any:
    """Return the value at ``path``, from the row's flat columns."""
    if path in trial:
        value = trial[path]
        if is_missing(value):
            return None
        if isinstance(value, str):
            return json.loads(value) if value[:1] in ("[", "{") else value
        # pandas makes floats of whole numbers in a column that some trials lack.
        return int(value) if isinstance(value, float) and value.is_integer() else value
    below = {name.removeprefix(f"{path}."): name for name in trial if name.startswith(f"{path}.")}
    first = dict.fromkeys(name.partition(".")[0] for name in below)
    inside = {
        name: value for name in first if (value := _stated(trial, f"{path}.{name}")) is not None
    }
    return inside or None


def _teacher_selection(seed: int, member: Row | None) -> dict[str, Any]:
    """Return how many teachers are trained, and which one is chosen."""
    selection = None if member is None else member["teacher_selection"]
    if member is None or is_missing(selection):
        return {"seeds": [seed]}
    if selection == "each":
        return {"select": "each"}
    candidates = [teacher["seed"] for teacher in json.loads(member["teacher_candidates"])]
    return {"seeds": candidates, "select": selection}


def _yaml(tree: Any) -> str:
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
