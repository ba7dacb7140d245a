"""``--smoke``: any sweep shrunk to about a minute on a CPU, to see that it runs from end to end.

Digits resized to the sweep's image shape instead of its data, 2 epochs, batches of 32, the ends of each list of values, 2
seeds, 4 points of a search, 32 examples and few attack steps per evaluation, one CPU and no GPU per trial. Works on the plain
values of the file, so that what runs is validated like any other sweep.
"""

from __future__ import annotations

from typing import Any

from kdray.core import InputError, tag_of, value_types
from kdray.data import AnyData, ImageData
from kdray.sweep.space import read_leaves

EXAMPLES = 200
_AT_MOST = {"seeds": 2, "points": 4, "startup": 2, "epochs": 2, "batch_size": 32, "steps": 3, "restarts": 2}
KEPT = ("resize", "channels", "augment", "normalization")
"""Of the data's own fields."""
Tree = dict[str, Any]


def shrink(tree: Tree) -> Tree:
    """The sweep file ``tree`` with everything that costs time reduced; what is not understood is left to validation."""
    small: Tree = _fewer(tree)
    small.pop("resources", None)
    if isinstance(small.get("experiment"), dict):
        small["experiment"] = _with_digits(small["experiment"])
    if isinstance(small.get("cases"), list):
        small["cases"] = [_case(case) for case in small["cases"]]
    evaluate = small.get("evaluate")
    if isinstance(evaluate, dict) and isinstance(evaluate.get("suite"), list):
        suite = [{**e, "examples": 32} if isinstance(e, dict) else e for e in evaluate["suite"]]
        small["evaluate"] = {**evaluate, "suite": suite}
    return small


def _fewer(node: Any) -> Any:
    if isinstance(node, dict):
        if len(node) == 1 and next(iter(node)) in ("quniform", "randint", "lograndint"):
            return _ends(node)
        values = _listed(node)
        if values is not None:
            return {next(iter(node)): [values[0], values[-1]]} if len(values) > 2 else node
        return {key: _limit(str(key).rpartition(".")[2], _fewer(part)) for key, part in node.items()}
    if isinstance(node, list):
        return [_fewer(part) for part in node]
    return node


def _ends(node: Tree) -> Any:
    """A range with a countable number of values as a list of its two ends."""
    try:
        edges = read_leaves(node).edges
    except InputError:
        return node
    return {"grid": list(dict.fromkeys((edges[0], edges[-1])))}


def _listed(node: Any) -> list[Any] | None:
    """The values of a ``grid`` or ``choice``, if ``node`` is one."""
    if isinstance(node, dict) and len(node) == 1:
        ((kind, values),) = node.items()
        if kind in ("grid", "choice") and isinstance(values, list) and values:
            return values
    return None


def _limit(key: str, value: Any) -> Any:
    most = _AT_MOST.get(key)
    if most is None:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return min(value, most)
    # A swept number of epochs would make the smoke test as long as its longest point.
    return most if isinstance(value, dict) and key in ("epochs", "batch_size") else value


def _with_digits(experiment: Tree) -> Tree:
    out = dict(experiment)
    if "data" in out:
        out["data"] = digits_like(out["data"])
    if isinstance(out.get("teacher"), dict):
        out["teacher"] = _with_digits(out["teacher"])
    return out


def _case(case: Any) -> Any:
    """A case without real data; the data set's name and size are the smoke test's own."""
    if not isinstance(case, dict) or not isinstance(case.get("set"), dict):
        return case
    changed: Tree = {}
    for path, value in case["set"].items():
        above, _, last = str(path).rpartition(".")
        if last == "data":
            changed[path] = digits_like(value)
        elif last == "teacher" and isinstance(value, dict):
            changed[path] = _with_digits(value)
        elif above.rpartition(".")[2] != "data" or last in KEPT:
            changed[path] = value
    return {**case, "set": changed}


def digits_like(data: Any) -> Any:
    """Digits of the image shape that ``data`` describes (the first, of a list), with its augmentation and normalisation."""
    data = (_listed(data) or [data])[0]
    if not isinstance(data, dict):
        return data
    known = {tag_of(kind): kind for kind in value_types(AnyData) if issubclass(kind, ImageData)}
    name = (_listed(data.get("name")) or [data.get("name")])[0]
    if not isinstance(name, str) or name not in known:
        return data
    channels, height, _ = known[name].native_shape
    kept: Tree = {key: data[key] for key in KEPT if key in data}
    return {"name": "digits", "examples": EXAMPLES, "resize": height, "channels": channels, **kept}
