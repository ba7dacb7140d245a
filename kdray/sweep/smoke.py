"""``--smoke``: any sweep shrunk to about a minute on a CPU, to see that it runs from end to end.

Digits resized to the sweep's image shape instead of its data, 2 epochs, batches of 32, the ends of each list of values, 2
seeds, 4 points of a search, 32 examples and few attack steps per evaluation, one CPU and no GPU per trial. Works on the plain
values of the file, so that what runs is validated like any other sweep.
"""

from __future__ import annotations

from typing import Any

from kdray.core import tag_of, value_types
from kdray.data import AnyData, ImageData

EXAMPLES = 200
_AT_MOST = {"seeds": 2, "points": 4, "startup": 2, "epochs": 2, "batch_size": 32, "steps": 3, "restarts": 2}
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
        if len(node) == 1:
            ((kind, values),) = node.items()
            if kind in ("grid", "choice") and isinstance(values, list) and len(values) > 2:
                return {kind: [values[0], values[-1]]}
        return {key: _limit(key, _fewer(part)) for key, part in node.items()}
    if isinstance(node, list):
        return [_fewer(part) for part in node]
    return node


def _limit(key: Any, value: Any) -> Any:
    most = _AT_MOST.get(str(key).rpartition(".")[2])
    if most is None:
        return value
    if isinstance(value, int):
        return min(value, most)
    # A swept number of epochs would make the smoke test as long as its longest point.
    return most if isinstance(value, dict) and key in ("epochs", "batch_size") else value


def _with_digits(experiment: Tree) -> Tree:
    out = dict(experiment)
    if isinstance(out.get("data"), dict):
        out["data"] = digits_like(out["data"])
    if isinstance(out.get("teacher"), dict):
        out["teacher"] = _with_digits(out["teacher"])
    return out


def _case(case: Any) -> Any:
    if not isinstance(case, dict) or not isinstance(case.get("set"), dict):
        return case
    changed = {path: digits_like(value) if path.rpartition(".")[2] == "data" and isinstance(value, dict) else value
               for path, value in case["set"].items()}  # fmt: skip
    return {**case, "set": changed}


def digits_like(data: Tree) -> Tree:
    """Digits of the image shape that ``data`` describes, with its augmentation and normalisation."""
    known: dict[str | None, type[Any]] = {tag_of(kind): kind for kind in value_types(AnyData)}
    kind = known.get(data.get("name"))
    if kind is None or not issubclass(kind, ImageData):
        return data
    channels, height, _ = kind.native_shape
    kept: Tree = {key: data[key] for key in ("resize", "channels", "augment", "normalization") if key in data}
    return {"name": "digits", "examples": EXAMPLES, "resize": height, "channels": channels, **kept}
