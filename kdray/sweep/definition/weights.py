"""The files of weights that a sweep names: each is known by its content, wherever it lies."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kdray.core import InputError, parse
from kdray.data import AnyData, ImageData
from kdray.machine.checked_file import pack
from kdray.models import AnyModel, Described, Model
from kdray.sweep.definition.tree import Tree
from kdray.teachers.initial import Init, initial_tensors
from kdray.teachers.pretrained import UNKNOWN, ImportedWeights, Pretrained, read_pretrained
from kdray.teachers.weights_file import DIGEST, digest

KEY = "weights"
"""Of a teacher that was trained elsewhere."""


class WeightFiles:
    """What the files below ``folder`` hold, each read once."""

    def __init__(self, folder: Path = Path()) -> None:
        self._folder = folder
        self._pretrained: dict[str, Pretrained] = {}
        """By description."""
        self._imported: dict[str, ImportedWeights] = {}
        """By trial id."""
        self._inits: dict[str, Tree] = {}
        """By experiment."""
        self.initial: dict[str, bytes] = {}
        """What the results are to hold of weights that trainings start from, by digest."""
        self.teachers_by_digest: dict[str, str] = {}
        """By digest that a sweep file names in the place of a teacher's path: where it does."""
        self.initial_by_digest: dict[str, str] = {}
        """The same of weights that trainings start from."""
        self._written: dict[str, str] = {}
        """By digest, as the sweep file writes it."""

    def pretrained(self, described: Tree, where: str) -> Pretrained:
        """The teacher that a sweep file describes, its weights by their digest."""
        key = json.dumps(described, sort_keys=True)
        if key not in self._pretrained:
            self._pretrained[key] = self._read(described, where)
        return self._pretrained[key]

    def _read(self, described: Tree, where: str) -> Pretrained:
        written = _path_or_digest(described[KEY], f"{where}.{KEY}")
        if written.startswith(DIGEST):
            self.teachers_by_digest[written] = f"{where}.{KEY}"
            return Pretrained.parse(described, where)  # what a results folder holds
        path = self._folder / Path(written).expanduser()
        imported = read_pretrained(described, path, where)
        self._imported[imported.pretrained.trial_id] = imported
        self._written[imported.pretrained.weights] = written
        return imported.pretrained

    def with_digests(self, tree: Any, where: str) -> Any:
        """``tree``, an experiment, in which each teacher that was trained elsewhere is known by
        its digest."""
        if not isinstance(tree, dict):
            return tree
        if KEY in tree:
            return json.loads(self.pretrained(tree, where).model_dump_json())
        found = dict(tree)
        if isinstance(tree.get("init"), dict) and KEY in tree["init"]:
            found["init"] = self._initial(tree, f"{where}.init")
        if "teacher" in tree:
            found["teacher"] = self.with_digests(tree["teacher"], f"{where}.teacher")
        return found

    def _initial(self, tree: Tree, where: str) -> Tree:
        """The ``init`` of an experiment, its weights by their digest."""
        init, parts = tree["init"], {name: tree.get(name) for name in ("data", "model")}
        key = json.dumps([init, parts], sort_keys=True)
        if key not in self._inits:
            self._inits[key] = {**init, KEY: self._read_initial(init, parts, where)}
        return self._inits[key]

    def _read_initial(self, init: Tree, parts: Tree, where: str) -> str:
        written = _path_or_digest(init[KEY], f"{where}.{KEY}")
        if written.startswith(DIGEST):
            self.initial_by_digest[written] = f"{where}.{KEY}"
            return written
        partial = parse(Init, {**init, KEY: UNKNOWN}, where).partial
        top = where.removesuffix(".init")
        data: ImageData = parse(AnyData, parts["data"], f"{top}.data")  # type: ignore[arg-type]
        model: Model = parse(AnyModel, parts["model"], f"{top}.model")  # type: ignore[arg-type]
        network = Described(model, data.shape, data.classes)
        try:
            tensors = initial_tensors(
                self._folder / Path(written).expanduser(), network, partial=partial
            )
        except InputError as error:
            raise InputError(f"{where}.{KEY}: {error}") from None
        known = digest(tensors)
        self._written[known] = written
        self.initial[known] = pack(tensors, {KEY: known})
        return known

    def with_paths(self, tree: Any) -> Any:
        """``tree``, an experiment in the results, in which weights that the sweep file names are
        written as there."""
        if not isinstance(tree, dict):
            return tree
        found = {
            key: self.with_paths(part) for key, part in tree.items() if key in ("teacher", "init")
        }
        if KEY in tree:
            found[KEY] = self._written.get(tree[KEY], tree[KEY])
        return {**tree, **found}

    def packed(self, pretrained: Pretrained) -> bytes | None:
        """The bytes that the results are to hold of ``pretrained``; none where the sweep file names
        no file, but the digest."""
        imported = self._imported.get(pretrained.trial_id)
        return None if imported is None else imported.packed()


def _path_or_digest(written: Any, where: str) -> str:
    """What a sweep file says of weights; :class:`InputError` if it is neither."""
    if not isinstance(written, str) or not written:
        raise InputError(f"{where}: needs the path of a file, not {json.dumps(written)}")
    if written.startswith(DIGEST) and re.fullmatch(r"[0-9a-f]{64}", written[len(DIGEST) :]) is None:
        raise InputError(
            f"{where}: {written!r} is no digest (allowed: the path of a file, or {DIGEST} and 64 "
            "of the digits 0-9 and a-f)"
        )
    return written
