"""``--smoke`` shrinks any sweep to about a minute on a CPU, to see that it runs from end to end.

Digits resized to the sweep's image shape instead of its data, the smallest network of each family,
2 epochs, batches of 16, the ends of each list of values, 2 seeds, 4 points of a search, 4 samples
of a smoothed model, 32 examples and few attack steps per evaluation, one CPU and no GPU per trial,
shown nowhere else. Works on the plain values of the file, so that what runs is validated like any
other sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdray.core import Effort, InputError, efforts_below, of_all_members, parse, tag_of, value_types
from kdray.data import AnyData
from kdray.data.digits import FEWEST_EXAMPLES
from kdray.models import AnyModel, Model
from kdray.robustness import AnyEvaluation, Evaluation
from kdray.sweep.definition.distributions import Branching, Distribution, read_leaves
from kdray.sweep.definition.tree import put, walk
from kdray.trials.experiment import Experiment

KEPT = ("resize", "channels", "pad", "omit_classes", "augment", "normalization")
"""Of the data's own fields."""
_OWN: dict[str, Any] = {
    "pad": 0,
    "omit_classes": [],
    "augment": "none",
    "normalization": "standardize",
}
"""What a teacher's data are where they say nothing and inherit nothing."""
Tree = dict[str, Any]


@of_all_members
def efforts_by_key() -> dict[str, Effort]:
    """Return what is limited, by key, wherever it stands: what is the sweep's own, and what values
    mark."""
    own = {"seeds": Effort(smoke=2), "points": Effort(smoke=4), "startup": Effort(smoke=2)}
    return {**own, **efforts_below(Experiment, AnyEvaluation)}


@of_all_members
def models() -> dict[str | None, type[Model]]:
    """Return the models by name."""
    return {tag_of(kind): kind for kind in value_types(AnyModel) if issubclass(kind, Model)}


@of_all_members
def evaluations() -> dict[str | None, type[Evaluation]]:
    """Return the evaluations by name."""
    found = [kind for kind in value_types(AnyEvaluation) if issubclass(kind, Evaluation)]
    return {tag_of(kind): kind for kind in found}


def shrink(tree: Tree) -> Tree:
    """Return the sweep file ``tree`` with everything that costs time reduced; what is not
    understood is left to validation."""
    small: Tree = _fewer(tree)
    small.pop("resources", None)
    small.pop("callbacks", None)
    whole = small.get("experiment")
    if isinstance(whole, dict):
        small["experiment"] = _experiment(whole)
        if isinstance(small.get("cases"), list):
            small["cases"] = [_case(case, whole) for case in small["cases"]]
    evaluate = small.get("evaluate")
    if isinstance(evaluate, dict):
        small["evaluate"] = _suite(evaluate)
        if isinstance(evaluate.get("best"), dict):
            small["evaluate"]["best"] = _suite(evaluate["best"])
    if isinstance(
        small.get("search"), dict
    ):  # two seeds are no race, and points to begin with may lie between the ends
        dropped = (
            "racing",
            "first",
            *(("population", "startup") if small["search"].get("sampler") == "cmaes" else ()),
        )
        small["search"] = {
            key: value for key, value in small["search"].items() if key not in dropped
        }
        if (
            small["search"].get("sampler") == "cmaes"
        ):  # whose ranges may have become lists of two ends
            small["search"]["sampler"] = "random"
    if "search" in small and _is_searched(tree) and not _is_searched(small):
        small["search"] = {}
    return small


def _suite(evaluate: Tree) -> Tree:
    """Return what is measured, of little."""
    if not isinstance(evaluate.get("suite"), list):
        return dict(evaluate)
    return {
        **evaluate,
        "suite": [_evaluation(e) if isinstance(e, dict) else e for e in evaluate["suite"]],
    }


def _evaluation(evaluation: Tree) -> Tree:
    """Return an evaluation of few images, and with whatever else it says itself reduced."""
    kind = evaluations().get(str(evaluation.get("name")), Evaluation)
    return kind.shrunk(evaluation)


def _is_searched(tree: Tree) -> bool:
    """Tell whether there is anything that a search could choose."""
    cases = tree.get("cases")
    sets = (
        [case.get("set") for case in cases if isinstance(case, dict)]
        if isinstance(cases, list)
        else []
    )
    try:
        leaves = [
            leaf for node in (tree.get("experiment"), *sets) for _, leaf in walk(read_leaves(node))
        ]
    except InputError:
        return True  # validation will say what is wrong
    return len(sets) > 1 or any(
        isinstance(leaf, Distribution | Branching) and leaf.kind != "grid" for leaf in leaves
    )


def _fewer(node: Any) -> Any:
    if isinstance(node, dict):
        if len(node) == 1 and next(iter(node)) in ("quniform", "randint", "lograndint"):
            return _ends(node)
        values = _listed(node)
        if values is not None:
            return {
                next(iter(node)): _different(
                    [_fewer(value) for value in (values[0], *values[1:][-1:])]
                )
            }
        return {
            key: _limit(str(key).rpartition(".")[2], _fewer(part)) for key, part in node.items()
        }
    if isinstance(node, list):
        return [_fewer(part) for part in node]
    return node


def _ends(node: Tree) -> Any:
    """Return a range with a countable number of values as a list of its two ends."""
    try:
        edges = read_leaves(node).edges
    except InputError:
        return node
    return {"choice": _different([edges[0], edges[-1]])}


def _listed(node: Any) -> list[Any] | None:
    """Return the values of a ``grid`` or ``choice``, if ``node`` is one."""
    if isinstance(node, dict) and len(node) == 1:
        ((kind, values),) = node.items()
        if kind in ("grid", "choice") and isinstance(values, list) and values:
            return values
    return None


def _different(values: list[Any]) -> list[Any]:
    """Return ``values`` in order, each once; they need not be hashable."""
    return [value for index, value in enumerate(values) if value not in values[:index]]


def _each(change: Callable[[Any], Any], node: Any) -> Any:
    """Return ``node`` changed, or each of its values where it is swept; no longer swept where that
    makes them all the same."""
    values = _listed(node)
    if values is None:
        return change(node)
    changed = _different([change(value) for value in values])
    return changed[0] if len(changed) == 1 < len(values) else {next(iter(node)): changed}


def _limit(key: str, value: Any) -> Any:
    effort = efforts_by_key().get(key)
    if effort is None or effort.smoke is None:
        return value
    most = effort.smoke
    if isinstance(value, dict) and not effort.swept:
        return most

    if key == "seeds" and isinstance(value, list):
        return value[:most]

    def least(one: Any) -> Any:
        if isinstance(one, list):
            return _different([least(each) for each in one])
        return min(one, most) if isinstance(one, int) and not isinstance(one, bool) else one

    return _each(least, value)


def _experiment(whole: Tree, above: Any = None) -> Tree:
    """Return an experiment, and the teachers in it, with digits and the smallest networks; its data
    may inherit from ``above``."""
    out = {key: part for key, part in whole.items() if key != "init"}
    if "data" in whole:
        out["data"] = digits_like(whole["data"], above)
    if "model" in whole:
        out["model"] = _each(smallest, whole["model"])
    if isinstance(whole.get("teacher"), dict):
        data = _inherited(whole.get("data", {}), above)
        out["teacher"] = _each(lambda teacher: _teacher(teacher, data), whole["teacher"])
    return out


def _teacher(teacher: Any, data: Any) -> Any:
    """Return a teacher as :func:`_experiment` has it; in the place of one that was trained
    elsewhere, whose weights fit no smaller network, one to be trained."""
    if not isinstance(teacher, dict):
        return teacher
    trained = {k: part for k, part in teacher.items() if k not in ("weights", "normalization")}
    return _experiment(trained, data)


def _case(case: Any, whole: Tree) -> Any:
    """Return a case of the experiment ``whole``: each part that :func:`_experiment` writes anew
    given completely, as it is here."""
    if not isinstance(case, dict) or not isinstance(case.get("set"), dict):
        return case
    paths = {written: str(written).removeprefix("experiment.") for written in case["set"]}
    for written, path in paths.items():
        whole = put(whole, path, case["set"][written])
    small, tops = _experiment(whole), {path.partition(".")[0] for path in paths.values()}
    changed: Tree = {
        written: case["set"][written]
        for written, path in paths.items()
        if path.partition(".")[0] not in ("data", "model", "teacher")
    }
    if "data" in tops and isinstance(small.get("teacher"), dict):
        tops.add("teacher")  # whose data may have inherited something else
    changed |= {top: small[top] for top in ("data", "model", "teacher") if top in tops}
    return {**case, "set": changed}


def smallest(model: Any) -> Any:
    """Return the smallest network of the family that ``model`` names, with whatever else it
    says."""
    if not isinstance(model, dict):
        return model
    names = _listed(model.get("name")) or [model.get("name")]
    if not all(isinstance(name, str) and name in models() for name in names):
        return model
    first, *others = (models()[name].small for name in names)
    agreed = {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }
    return {**model, **agreed}


def digits_like(data: Any, above: Any = None) -> Any:
    """Digits of the image shape that ``data`` describes (the first, of a list; a square), kept in
    all that is not their own.

    ``above`` is what a teacher's data inherit from, if they are of the same name.
    """
    data, above = _first(data), _first(above)
    if not isinstance(data, dict) or "same" in data:
        return data
    kept: Tree = {key: data[key] for key in KEPT if data.get(key) is not None}
    if "omit_classes" in kept:
        kept["omit_classes"] = _each(_of_digits, kept["omit_classes"])
    if "name" not in data and isinstance(above, dict):
        return kept
    whole = _inherited(data, above)
    if not isinstance(whole, dict):
        return data
    if whole is data and isinstance(above, dict):
        kept = {**_OWN, **kept}  # what digits would now inherit from digits
        if isinstance(data.get("name"), dict):
            whole = {**data, "name": above.get("name")}  # "same: data.name"
    plain = {key: _first(value) for key, value in whole.items()}
    plain = {key: value for key, value in plain.items() if not isinstance(value, dict)}
    try:
        described: Any = parse(AnyData, plain)  # type: ignore[arg-type]  # a union of types
    except InputError:
        return data
    channels, height, width = described.native_shape
    return {
        "name": "digits",
        "examples": FEWEST_EXAMPLES,
        "resize": max(height, width),
        "channels": channels,
        **kept,
    }


def _first(node: Any) -> Any:
    return (_listed(node) or [node])[0]


def _inherited(data: Any, above: Any) -> Any:
    """Return ``data`` with what it takes from ``above``, as :mod:`kdray.sweep.definition.read`
    has it."""
    data, above = _first(data), _first(above)
    if (
        not isinstance(data, dict)
        or not isinstance(above, dict)
        or data.get("name", above.get("name")) != above.get("name")
    ):
        return data
    return {**above, **data}


def _of_digits(classes: Any) -> Any:
    """Return those of ``classes`` that digits have, but not all ten."""
    if not isinstance(classes, list):
        return classes
    return [number for number in classes if not isinstance(number, int) or number < 10][:9]
