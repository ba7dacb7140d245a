"""The JSON Schema of a sweep file, made from the types: an editor completes and checks by it.

It is a little more lenient than kdray itself: what several fields together may be is not in it, and
whatever a teacher, a case or an override may supply is not required.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any

from kdray.core import Value
from kdray.core.unions import nested_value_types
from kdray.sweep.definition.distributions import KINDS
from kdray.sweep.definition.file import SweepFile, TeacherChoice
from kdray.sweep.definition.samplers import Grid
from kdray.trials.experiment import Experiment

Schema = dict[str, Any]
FRACTION = {"type": "string", "pattern": r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)/[0-9]*[1-9][0-9]*$"}
"""8/255, as a sweep file may write a number."""
LISTS = ("grid", "choice")
"""Distributions that are lists of values."""
SWEPT = "swept."
"""Before the name of a definition in whose fields distributions may stand."""
SAME: Schema = {
    "type": "object",
    "properties": {"same": {"type": "string", "description": "The path of the leaf to follow."}},
    "required": ["same"],
    "additionalProperties": False,
}


def sweep_schema() -> Schema:
    """Return the schema (draft 2020-12) of a sweep file, with the members of loaded plug-ins."""
    kinds = {kind.__name__: kind for kind in nested_value_types(SweepFile, Experiment)}
    file, experiment = SweepFile.model_json_schema(), Experiment.model_json_schema()
    definitions: Schema = {"range": _range(), "same": SAME}
    for name, found in file.pop("$defs").items():
        definitions[name] = _tagged(_changed(_described(found, kinds.get(name))))
    for name, found in experiment.pop("$defs").items():
        definitions |= _swept(name, _described(found, kinds.get(name)))
    student = definitions[f"{SWEPT}Experiment"]
    student["properties"].pop("seed")
    choice = _changed(_described(TeacherChoice.model_json_schema(), TeacherChoice))
    taught = {**student["properties"], **choice["properties"]}
    definitions[f"{SWEPT}teacher"] = {**student, "properties": taught}
    kinds_of_teacher = (f"{SWEPT}teacher", f"{SWEPT}Pretrained")
    definitions[f"{SWEPT}Experiment.teacher"] = {
        "anyOf": [*({"$ref": f"#/$defs/{name}"} for name in kinds_of_teacher), {"type": "null"}]
    }
    definitions[f"{SWEPT}Pretrained.weights"] = {"type": "string"}  # the path of a file
    # Where a search names no sampler it is a grid.
    del definitions[Grid.__name__]["required"]
    file = _changed(_described(file, SweepFile))
    objective = file["properties"]["objective"]
    file["properties"] |= {
        "experiment": {"$ref": f"#/$defs/{SWEPT}Experiment"},
        "objective": {**objective, "anyOf": [objective["items"], {**objective}]},
    }
    for key in ("type", "items", "minItems"):
        del file["properties"]["objective"][key]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kdray sweep"}
    return {**head, **file, "$defs": definitions}


def _range() -> Schema:
    numbers = {"type": "array", "items": {"anyOf": [{"type": "number"}, FRACTION]}}
    kinds = [kind for kind in KINDS if kind not in LISTS]
    return _one_key(
        {kind: {**numbers, "minItems": 3 if kind == "quniform" else 2} for kind in kinds}
    )


def _one_key(properties: Schema) -> Schema:
    """Return the schema of a mapping with one of these keys."""
    return {
        "type": "object",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _tagged(definition: Schema) -> Schema:
    """Return the definition of a value that must say which member of its union it is."""
    tags = [name for name, part in definition.get("properties", {}).items() if "const" in part]
    return {**definition, "required": [*definition.get("required", ()), *tags]}


def _swept(name: str, definition: Schema) -> Schema:
    """Return the definitions of a value in whose fields distributions may stand: its own, and one
    of what each field holds. No field is required: a case or the student may say it."""
    found = _changed(definition, prefix=SWEPT)
    found.pop("required", None)
    definitions: Schema = {f"{SWEPT}{name}": found}
    for field, part in found.get("properties", {}).items():
        about = {key: part.pop(key) for key in ("description", "default") if key in part}
        definitions[f"{SWEPT}{name}.{field}"] = part
        plain = {"$ref": f"#/$defs/{SWEPT}{name}.{field}"}
        values = {"type": "array", "minItems": 1, "items": {} if "const" in part else plain}
        lists = _one_key(dict.fromkeys(LISTS, values))
        others = [{"$ref": "#/$defs/range"}, {"$ref": "#/$defs/same"}]
        found["properties"][field] = {"anyOf": [plain, lists, *others], **about}
    return definitions


def _changed(node: Any, prefix: str = "") -> Any:
    """Return pydantic's schema with references to definitions under ``prefix``, fractions beside
    numbers, and without titles."""
    if isinstance(node, list):
        return [_changed(part, prefix) for part in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "number":
        about = {key: node[key] for key in ("description", "default") if key in node}
        limits = {key: part for key, part in node.items() if key not in ("title", *about)}
        return {"anyOf": [limits, FRACTION], **about}
    out: Schema = {}
    for key, part in node.items():
        if key == "properties":
            out[key] = {name: _changed(below, prefix) for name, below in part.items()}
        elif key == "$ref":
            out[key] = part.replace("#/$defs/", f"#/$defs/{prefix}")
        elif key not in ("title", "discriminator"):
            out["anyOf" if key == "oneOf" else key] = _changed(part, prefix)
    return out


def _described(definition: Schema, kind: type[Value] | None) -> Schema:
    """Return a definition whose fields have what stands below them in the code."""
    if kind is None or "properties" not in definition:
        return definition
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        docs |= field_docs(base)
    properties = {
        name: {**part, "description": docs[name]} if name in docs else part
        for name, part in definition["properties"].items()
    }
    return {**definition, "properties": properties}


@cache
def field_docs(kind: type) -> dict[str, str]:
    """Return the docstrings of the fields that a value's class has of its own."""
    if not issubclass(kind, Value) or kind is Value:
        return {}
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    found[field.target.id] = " ".join(text.split())
    return found
