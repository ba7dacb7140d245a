"""Tables of what a sweep file may say, made from the types: key, what is allowed, default, meaning.

The meaning is the attribute docstring below a field, so that it is written once, beside the code.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kdray.core import Value, tag_of, value_types
from kdray.data import ImageData
from kdray.methods import Method
from kdray.models import Model
from kdray.robustness import Evaluation

HEAD = ["| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
UNION_HEAD = ["| name | key | allowed | default | meaning |", "| --- | --- | --- | --- | --- |"]
LINKS: dict[type[Value], str] = {
    ImageData: "[data set](#data-sets)",
    Model: "[model](#models)",
    Method: "[method](#methods)",
    Evaluation: "[evaluation](#evaluations)",
}
"""Where the members of large unions are listed."""
MANY = 8
"""Members of a union from which on the reference links to their list."""
USUAL = {
    "aggregate": "What becomes of the passes: shares of votes, the mean softmax, the mean logits.",
    "batch_size": "Training images per step.",
    "beta1": "Decay of the mean of the gradient.",
    "beta2": "Decay of the mean of the squared gradient.",
    "cases": "Named overrides, crossed with the rest of the space.",
    "classes": "How many classes there are.",
    "clean": "The loss of the clean images.",
    "clip": "Clip the noisy image to [0, 1].",
    "cpu": "CPUs, and so threads of torch.",
    "data": "What it is trained on.",
    "dropout": "Probability that a unit is dropped while training.",
    "experiment": "One training, in which some leaves are distributions.",
    "gamma": "Factor at each milestone.",
    "hint": "What the hint is: the teacher's features themselves, or what a classifier says of them.",
    "kinds": "Kinds of corruption.",
    "method": "What the student learns from its labels and its teacher.",
    "milestones": "Epochs.",
    "mode": "Whether more or less is better.",
    "model": "The network.",
    "momentum": "Of stochastic gradient descent.",
    "name": "What it is called in tables.",
    "nesterov": "Nesterov's momentum.",
    "norm": "Of the ball.",
    "optimizer": "[Optimiser](#optimisers-and-schedules).",
    "perturbed": "The loss of the perturbed images.",
    "project": "Of Weights & Biases.",
    "restarts": "Random starts; an image counts as correct if no restart breaks it.",
    "roles": "Whose trials are measured.",
    "schedule": "[Schedule](#optimisers-and-schedules) of the learning rate.",
    "search": "How points of the space are chosen.",
    "seed": "Of the draws.",
    "seeds": "So many are trained, with seeds 0, 1, …",
    "severities": "From 1, the weakest, to 5.",
    "split": "Whose images are measured.",
    "step_size": "Absolute, in pixel units of images in [0, 1].",
    "startup": "Random points before the sampler begins to learn.",
    "steps": "Of the attack.",
    "suite": "Evaluations.",
    "teacher": "[Who teaches](#teacher): an experiment itself, or a model that was trained "
    "elsewhere.",
    "temperature": "τ, which divides the logits of both networks.",
}
"""Meanings of keys that mean the same wherever they stand."""


def fields(kind: Any) -> str:
    """The table of a value type's fields, or of a union's members with the fields of each."""
    members = list(value_types(kind))
    if len(members) == 1 and tag_of(members[0]) is None:
        return "\n".join([*HEAD, *(f"| {row} |" for row in _rows(members[0], keys(members[0])))])
    shared = _shared(members)
    rows = [f"| any | {row} |" for row in _rows(members[0], shared)]
    for member in members:
        rows.append(f"| **`{tag_of(member)}`** | | | | {_about(member)} |")
        own = [key for key in keys(member) if key not in shared]
        rows += [f"| | {row} |" for row in _rows(member, own)]
    return "\n".join([*UNION_HEAD, *rows])


def keys(kind: type[Value]) -> list[str]:
    """The fields of ``kind`` in their order, without the one that chooses a member of a union."""
    chooses = kind.tag_field if tag_of(kind) is not None else None
    return [name for name in kind.model_fields if name != chooses]


def _shared(members: list[type[Value]]) -> list[str]:
    """The fields that all members have alike."""
    if len(members) < 2:
        return []
    return [
        key
        for key in keys(members[0])
        if len({_allowed_and_default(member.model_fields.get(key)) for member in members}) == 1
    ]


def _rows(kind: type[Value], names: Iterable[str]) -> Iterator[str]:
    documented = meanings(kind)
    for name in names:
        allowed_, default_ = _allowed_and_default(kind.model_fields[name])
        meaning = documented.get(name) or _about_part(kind, name) or USUAL.get(name, "")
        yield f"`{name}` | {allowed_} | {default_} | {meaning}"


def _about_part(kind: type[Value], name: str) -> str:
    """The first sentence about the value that a field holds, where it holds one kind of value."""
    members = list(value_types(kind.model_fields[name].annotation))
    if len(members) != 1:
        return ""
    return f"{_about(members[0]).partition('. ')[0].rstrip('.')}."


def _allowed_and_default(field: FieldInfo | None) -> tuple[str, str]:
    return (
        ("", "") if field is None else (allowed(field.annotation, field.metadata), default(field))
    )


def _about(kind: type[Value]) -> str:
    """The first paragraph of a member's docstring, and its paper."""
    text = markdown((kind.__doc__ or "").partition("\n\n")[0])
    paper = getattr(kind, "paper", None)
    return f"{text} Paper: {markdown(paper)}." if paper else text


def meanings(kind: type[Value]) -> dict[str, str]:
    """The attribute docstring of every field that has one, also those of base classes."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, Value):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, after in pairwise(definition.body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[field.target.id] = markdown(str(after.value.value))
    return found


def markdown(text: str) -> str:
    """A docstring's text as it may stand in a cell of a table."""
    text = " ".join(text.split()).replace("``", "`")
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("|", r"\|")
    parts = text.split("`")  # every second part is code
    parts[::2] = [re.sub(r"([_*<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def allowed(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a field accepts, with its limits, in words."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return allowed(inner, [*metadata, *more])
    members = list(value_types(annotation))
    if members:
        named = [part for part in get_args(annotation) if get_origin(part) is Literal]
        return ", ".join([*map(allowed, named), _members(annotation, members)])
    if names := _literals(annotation):
        return ", ".join(f"`{_plain(value)}`" for value in names)
    if get_origin(annotation) is tuple:
        least = "non-empty list" if "at least" in _limits(metadata) else "list"
        return f"{least} of {allowed(get_args(annotation)[0])}"
    if get_origin(annotation) is dict:
        return "mapping"
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if parts:
        return " or ".join(dict.fromkeys(allowed(part, metadata) for part in parts))
    if annotation is bool:
        return "`true`, `false`"
    if annotation is str:
        return "text"
    return {float: "number", int: "integer"}[annotation] + _limits(metadata)


def _literals(annotation: Any) -> list[Any]:
    """The values of a Literal, or of a union of nothing else, each once."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if not parts or any(get_origin(part) is not Literal for part in parts):
        return []
    return list(dict.fromkeys(value for part in parts for value in get_args(part)))


def _members(annotation: Any, members: list[type[Value]]) -> str:
    many = get_origin(annotation) is tuple
    for base, link in LINKS.items():
        if len(members) >= MANY and all(issubclass(member, base) for member in members):
            return f"list of {link}s" if many else link
    if all(tag_of(member) for member in members):
        text = ", ".join(f"`{tag_of(member)}`" for member in members)
        return f"{'list of ' if many else ''}`{{{members[0].tag_field}: …}}`: {text}"
    return f"{'list of ' if many else ''}`{{{', '.join(members[0].model_fields)}}}`"


def _limits(metadata: Iterable[Any]) -> str:
    """``from 0 to 1``, ``above 0``; of a list the least length."""
    found: dict[str, Any] = {}
    for item in _flat(metadata):
        for kind, name, value in (
            (Ge, "from", "ge"),
            (Gt, "above", "gt"),
            (Le, "to", "le"),
            (Lt, "below", "lt"),
        ):
            if isinstance(item, kind):
                found[name] = getattr(item, value)
        if isinstance(item, MinLen):
            found["at least"] = item.min_length
    return "".join(f" {name} {value:,}" for name, value in found.items())


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def default(field: FieldInfo) -> str:
    """What holds where the key is left out."""
    value = field.default
    if field.is_required() or value is PydanticUndefined:
        return "required"
    if isinstance(value, Value):
        name = tag_of(type(value))
        return f"`{{{value.tag_field}: {name}}}`" if name else "its defaults"
    if isinstance(value, tuple | dict) and not value:
        return "none"
    if isinstance(value, tuple) and isinstance(value[0], Value):
        return "its defaults"
    if isinstance(value, tuple) and set(value) == set(_literals(get_args(field.annotation)[0])):
        return "all"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(_plain, value))}]`"
    return "none" if value is None else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as it is written in a sweep file: 8/255, true."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and len(repr(value)) > 8:
        levels = value * 255
        if abs(levels - round(levels)) < 1e-9:
            return f"{levels:.0f}/255"
    return f"{value:g}" if isinstance(value, float) else str(value)
