"""What a sweep file can name: every member of every union with its meaning, parameters and
paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic_core import PydanticUndefined

from kdray.core import Value, tag_of, value_types
from kdray.core.wording import pixels, value_text
from kdray.data import AnyData
from kdray.methods import AnyMethod
from kdray.methods.attack import Attack
from kdray.models import AnyModel, Smoothing
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.plugins import plugin_of
from kdray.teachers import Supervision, Virtual

What = Literal["models", "methods", "noise", "datasets", "evaluations"]
_UNIONS: dict[What, dict[str, Any]] = {
    "models": {"": AnyModel},
    "methods": {
        "": AnyMethod,
        "method.attack": Attack,
        "supervision": Supervision,
        "supervision.smoothing": Smoothing,
        "supervision.virtual": Virtual,
    },
    "noise": {
        "noise.input": AnyInputNoise,
        "noise.labels": AnyLabelNoise,
        "model.weight_noise": AnyWeightNoise,
        "supervision.noise": AnyLogitNoise,
    },
    "datasets": {"": AnyData},
    "evaluations": {"": AnyEvaluation},
}


class Entry(NamedTuple):
    """One member of a union."""

    name: str
    summary: str
    details: list[str]


def entries(what: What) -> Iterator[Entry]:
    """The members of the unions behind ``what`` (and values that are no union, by their place), in
    order."""
    for place, union in _UNIONS[what].items():
        for kind in value_types(union):
            summary = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
            tag = tag_of(kind)
            details = [f"{place}: {{name: {tag}, …}}"] if place and tag else []
            paper = getattr(kind, "paper", None)
            details += [f"paper: {paper}"] if paper else []
            plugin = plugin_of(kind)
            details += [f"from: {plugin.source}"] if plugin else []
            details += [
                f"{name}: {_type(field.annotation)}{_default(field.default)}"
                for name, field in kind.model_fields.items()
                if name not in ("name", "label")
            ]
            yield Entry(tag or place, summary, details)


def _type(annotation: Any) -> str:
    members = list(value_types(annotation))
    if members:  # "none" is told by the default
        tags = [tag for kind in members if (tag := tag_of(kind)) is not None]
        return (
            f"{{name: {' | '.join(tags)}, …}}"
            if tags
            else f"{{{', '.join(members[0].model_fields)}}}"
        )
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    args = [part for part in get_args(annotation) if part is not type(None)]
    if args and get_origin(annotation) is tuple:
        return f"list of {_type(args[0])}"
    if args:
        return " | ".join(dict.fromkeys(_type(part) for part in args if not _is_metadata(part)))
    return {float: "number", int: "integer", str: "text", bool: "true | false"}.get(
        annotation, str(annotation)
    )


def _is_metadata(part: Any) -> bool:
    return not (isinstance(part, type) or get_origin(part) is not None)


def _default(default: Any) -> str:
    if default is PydanticUndefined:
        return ", required"
    if isinstance(default, Value):
        return ""
    if isinstance(default, float):
        return f" = {pixels(default)}"
    return f" = {'none' if default is None else value_text(default)}"
