"""A sweep is read from its file: cases and overrides are put in, what a teacher inherits is made
explicit, and all of it is checked before anything starts."""

from __future__ import annotations

import difflib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdray.core import InputError, parse
from kdray.core.yaml import parse_text, read_yaml
from kdray.sweep.definition.check import check, check_teachers_are_finite
from kdray.sweep.definition.distributions import (
    Branch,
    Branching,
    Distribution,
    Same,
    expand,
    is_swept,
    read_leaves,
)
from kdray.sweep.definition.fields import check_fields, check_teachers
from kdray.sweep.definition.file import (
    Case,
    SweepFile,
    TeacherChoice,
    seed_numbers,
    without_rounding,
)
from kdray.sweep.definition.plugins import load_installed_plugins
from kdray.sweep.definition.smoke import shrink
from kdray.sweep.definition.space import Space, check_sames
from kdray.sweep.definition.tree import Tree, inside, put
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.definition.weights import KEY, WeightFiles
from kdray.trials.experiment import Experiment

MAX_BRANCHES = 1000
"""Combinations of whole mappings that are chosen between."""
INHERITED: dict[str, frozenset[str]] = {
    "data": frozenset({"omit_classes"}),
    "training": frozenset({"monitor", "gradients"}),
}
"""What a teacher takes from its student where it says nothing itself (noise never), and what it
does not take."""


def load_sweep(
    path: str | os.PathLike[str], *, set: Sequence[str] = (), smoke: bool = False
) -> Sweep:
    """Return the sweep in a file, with ``path=value`` overrides; :class:`kdray.InputError` names
    file, field and what is allowed."""
    load_installed_plugins()
    path = Path(path)
    tree = read_yaml(path)
    try:
        sweep = sweep_from(tree, set=set, smoke=smoke, folder=path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return replace(sweep, place=str(path))


def sweep_from(
    tree: Any, *, set: Sequence[str] = (), smoke: bool = False, folder: Path = Path()
) -> Sweep:
    """Return the sweep that the plain values of its file describe; relative paths of weights are
    below ``folder``."""
    try:
        return _sweep_from(tree, set, smoke, folder)
    except RecursionError:
        raise InputError("is nested too deeply") from None


def _sweep_from(tree: Any, set: Sequence[str], smoke: bool, folder: Path) -> Sweep:
    if not isinstance(tree, dict) or not tree:
        raise InputError("is not a sweep: a mapping with name and experiment is needed")
    for override in set:
        tree = _override(tree, override)
    tree = without_rounding(tree)
    if smoke:
        tree = shrink(tree)
    try:
        file = parse(SweepFile, tree)
    except InputError as error:
        alone = isinstance(tree.get("objective"), dict)
        raise InputError(
            str(error).replace("objective[0]", "objective") if alone else str(error)
        ) from None
    cases = file.cases or (Case.model_construct(name="", set={}),)
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"cases: name {name!r} is used twice")
    spaces: list[Space] = []
    choices: dict[str | None, TeacherChoice] = {}
    for index, case in enumerate(cases):
        try:
            found, choices[case.name or None] = _spaces(file, case)
        except InputError as error:
            raise InputError(
                f"{f'cases[{index}] ({case.name}): ' if case.name else ''}{error}"
            ) from None
        spaces += found
    sweep = Sweep(file, tuple(spaces), choices, WeightFiles(folder))
    check(sweep)
    return sweep


def _override(tree: Tree, text: str) -> Tree:
    path, equals, value = text.partition("=")
    if not equals or not path or not all(path.split(".")):
        raise InputError(f"--set {text}: needs path=value, for example training.epochs=3")
    top, known = path.split(".")[0], list(SweepFile.model_fields)
    if top not in known:
        valid = [*known, *(name for name in Experiment.model_fields if name != "seed")]
        if top not in valid:
            near = difflib.get_close_matches(top, valid, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise InputError(f"--set {path}: unknown{hint} (allowed: {', '.join(valid)})")
        path = f"experiment.{path}"
    return put(tree, path, parse_text(value, f"--set {path.removeprefix('experiment.')}"))


def _spaces(file: SweepFile, case: Case) -> tuple[list[Space], TeacherChoice]:
    """Return the spaces of one case, one for each branch: overrides are put in, leaves read, and
    what the teacher inherits is made explicit."""
    tree: Tree = dict(file.experiment)
    for path, value in case.set.items():
        tree = put(tree, path.removeprefix("experiment."), value)
    if "seed" in tree:
        raise InputError(
            "experiment.seed: is set by the sweep; say how many, or which, with 'seeds' at the "
            "top of the file"
        )
    read: Any = read_leaves(tree)
    if not isinstance(read, dict):
        raise InputError(
            "experiment: a list of whole experiments is not supported; use cases, or lists below it"
        )
    choices: list[TeacherChoice] = []
    spaces: list[Space] = []
    for teacher, one in _by_teacher(read):
        whole, choice = _with_teacher(one, tree, file)
        if KEY not in (whole.get("teacher") or {}):
            choices.append(choice)
        spaces += [
            Space(case.name or None, expanded, (*teacher, *branches))
            for branches, expanded in itertools.islice(expand(whole), MAX_BRANCHES + 1)
        ]
    if any(choice != choices[0] for choice in choices):
        raise InputError(
            "experiment.teacher: of a list of teachers, those that are trained are all chosen "
            "alike (seeds, select); use cases"
        )
    if len(spaces) > MAX_BRANCHES:
        raise InputError(
            f"experiment: has more than {MAX_BRANCHES} combinations of branches; write some as "
            "cases, or as sweeps"
        )
    for space in spaces:
        check_sames(space)
        check_fields(space)
        check_teachers_are_finite(space)
    return spaces, choices[0] if choices else TeacherChoice()


def _by_teacher(read: Tree) -> Iterator[tuple[tuple[Branch, ...], Tree]]:
    """Yield ``read`` with each teacher of a list of whole teachers; itself if it has no such
    list."""
    teachers = read.get("teacher")
    if isinstance(teachers, Distribution) and teachers.kind in ("grid", "choice"):
        branches = dict(zip(_teacher_names(teachers.arguments), teachers.arguments, strict=True))
    elif isinstance(teachers, Branching):
        branches = dict(
            zip(
                _teacher_names(tuple(teachers.branches.values())),
                teachers.branches.values(),
                strict=True,
            )
        )
    else:
        yield (), read
        return
    for label, teacher in branches.items():
        yield (Branch("teacher", label, teachers.kind),), {**read, "teacher": teacher}  # type: ignore[arg-type]


def _teacher_names(teachers: Sequence[Any]) -> list[str]:
    """Return what people call each of several teachers: its weights' file, or its network."""
    names = []
    for teacher in teachers:
        described = teacher if isinstance(teacher, dict) else {}
        written, model = described.get(KEY), described.get("model")
        name = model.get("name") if isinstance(model, dict) else None
        names.append(Path(written).stem if isinstance(written, str) else str(name or "none"))
    return [
        name if names.count(name) == 1 else f"{name} {number}"
        for number, name in enumerate(names, 1)
    ]


def _with_teacher(read: Tree, tree: Tree, file: SweepFile) -> tuple[Tree, TeacherChoice]:
    """Return ``read`` (of ``tree``) with what its teacher inherits, and how its teacher is
    chosen."""
    teacher = read.get("teacher")
    if isinstance(teacher, Distribution | Same | Branching):
        raise InputError("experiment.teacher: needs a teacher, or {grid: [teacher, …]}")
    if teacher is None:
        return read, TeacherChoice()
    check_teachers(read)
    if not isinstance(teacher, dict):
        raise InputError(
            "experiment.teacher: input should be an experiment or null, not "
            f"{json.dumps(tree['teacher'])}"
        )
    stated = {key: teacher[key] for key in TeacherChoice.model_fields if key in teacher}
    for key, value in stated.items():
        if is_swept(value):
            raise InputError(
                f"experiment.teacher.{key}: says how teachers are chosen and cannot be "
                "swept; use cases"
            )
    if KEY in teacher and stated:
        raise InputError(
            f"experiment.teacher.{next(iter(stated))}: a teacher that was trained elsewhere is one"
        )
    choice = parse(TeacherChoice, stated, "experiment.teacher")
    rest = {key: part for key, part in teacher.items() if key not in stated}
    if "seed" in rest:
        raise InputError(
            "experiment.teacher.seed: is set by the sweep; say how many, or which, with "
            "'teacher.seeds'"
        )
    lacking = [seed for seed in file.seed_numbers if seed not in seed_numbers(choice.seeds)]
    if choice.select == "each" and lacking and KEY not in teacher:
        if "seeds" in stated:
            raise InputError(
                f"experiment.teacher.seeds: there is no teacher with seed {lacking[0]}; select: "
                "each needs one for every seed of the students"
            )
        choice = TeacherChoice(seeds=file.seeds, select="each")
    return {**read, "teacher": _inherit(rest, read)}, choice


def _is_monitored(key: str, value: Any) -> bool:
    """Tell whether ``training.keep`` names a number of the monitor, which a teacher has not."""
    values = value.arguments if isinstance(value, Distribution) else (value,)
    return key == "keep" and any(isinstance(each, dict | Branching) for each in values)


def _inherit(teacher: Tree, student: Tree, above: str = "") -> Tree:
    """Return ``teacher`` with the student's data and training where it says nothing; a swept
    leaf is followed, not copied."""

    def follow(node: Any, path: str) -> Any:
        if isinstance(node, Distribution | Same | Branching):
            return Same(path)
        return inside(node, path, follow)

    out = dict(teacher)
    for part, own in INHERITED.items():
        given, whole = teacher.get(part, {}), student.get(part)
        if whole is None or not isinstance(given, dict) or (KEY in teacher and part != "data"):
            continue
        if not isinstance(whole, dict):
            out.setdefault(part, follow(whole, f"{above}{part}"))
        elif given.get("name", whole.get("name")) == whole.get("name"):
            out[part] = {
                key: follow(value, f"{above}{part}.{key}")
                for key, value in whole.items()
                if key not in given and key not in own and not _is_monitored(key, value)
            } | given
    if isinstance(out.get("teacher"), dict):
        out["teacher"] = _inherit(out["teacher"], out, f"{above}teacher.")
    return out
