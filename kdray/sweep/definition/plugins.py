"""Plug-ins: modules of a user's own whose values join kdray's unions.

Code runs only from what the user named (``--plugin``, ``KDRAY_PLUGINS``, :func:`load_plugin`) or
installed (a package with an entry point in the group ``kdray.plugins``); a sweep file names
members, never modules.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Union

from kdray.core import InputError, Value, describe, leaf_types, tag_of, value_types
from kdray.core.plugin_modules import PLUGIN_MODULES, PluginModule
from kdray.core.unions import join, leave, open_unions
from kdray.sweep.definition.file import SweepFile  # noqa: F401  # with it every union is there
from kdray.trials.experiment import Experiment  # noqa: F401

VARIABLE = "KDRAY_PLUGINS"
"""Environment variable: plug-ins by file or module, separated as in ``PATH``."""
GROUP = "kdray.plugins"
"""Entry points of installed packages."""


class Plugin(NamedTuple):
    """A module whose values have joined kdray's unions."""

    name: str
    """Under which it is imported."""
    source: Path
    """Its file, or the folder of its package."""
    digest: str
    """12 hexadecimal digits of the SHA-256 of its Python files."""
    members: tuple[type[Value], ...]

    @property
    def installed(self) -> bool:
        """Whether it is among this Python's installed packages, so that a worker's has it too."""
        folders = {sysconfig.get_path(scheme) for scheme in ("purelib", "platlib")}
        return any(self.source.is_relative_to(Path(folder).resolve()) for folder in folders)


_LOADED: dict[str, Plugin] = {}


def load_plugin(named: str | os.PathLike[str]) -> Plugin:
    """Import a plug-in and let its values join; one that is loaded already stays as it is.

    ``named`` is a Python file, the folder of a package, or the name of a module that can be
    imported. :class:`InputError` if it cannot be imported or has a member that cannot join.
    """
    where = os.fspath(named)
    path = Path(where).expanduser()
    is_file = path.suffix == ".py" or path.is_dir() or os.sep in where
    name = path.stem if is_file else where
    loaded = _LOADED.get(name)
    if loaded is not None:
        if is_file and path.resolve() != loaded.source:
            raise InputError(f"plug-in {where}: {loaded.source} has the same name; rename one")
        return loaded
    module = _import_file(path, where) if is_file else _import(where)
    try:
        _LOADED[name] = plugin = _joined(module, name, where)
    except InputError:
        if is_file:
            del sys.modules[name]
        raise
    return plugin


def unload_plugin(plugin: Plugin) -> None:
    """Take the values of a plug-in out of the unions and forget its module."""
    leave(*plugin.members)
    del PLUGIN_MODULES[plugin.name], _LOADED[plugin.name], sys.modules[plugin.name]


def loaded_plugins() -> list[Plugin]:
    """Return the plug-ins in the order in which they were loaded."""
    return list(_LOADED.values())


def plugin_of(kind: type[Value]) -> Plugin | None:
    """Return the plug-in that ``kind`` is a member of; none: it is kdray's own."""
    return next((plugin for plugin in _LOADED.values() if kind in plugin.members), None)


@cache
def load_installed_plugins() -> None:
    """Load what the environment names and what installed packages offer, once."""
    for named in os.environ.get(VARIABLE, "").split(os.pathsep):
        if named:
            load_plugin(named)
    for point in entry_points(group=GROUP):
        load_plugin(point.value.partition(":")[0])


def worker_env(runtime_env: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Ray prepares for every worker: ``runtime_env``, and the plug-ins that are not
    installed."""
    modules = [str(plugin.source) for plugin in loaded_plugins() if not plugin.installed]
    if not modules:
        return dict(runtime_env)
    return {**runtime_env, "py_modules": [*runtime_env.get("py_modules", ()), *modules]}


def require_plugins(wanted: Iterable[tuple[str, str]]) -> None:
    """Load plug-ins, by name and digest, where a trial is run; :class:`InputError` if one is
    missing or another version than the sweep was started with."""
    for name, digest in wanted:
        try:
            plugin = load_plugin(name)
        except InputError as error:
            raise InputError(f"{error}: it is not on this worker") from None
        if plugin.digest != digest:
            raise InputError(
                f"plug-in {name}: {plugin.source} on this worker is not what the sweep was started "
                "with"
            )


def _import_file(path: Path, where: str) -> ModuleType:
    if not path.exists():
        raise InputError(f"plug-in {where}: there is no such file")
    path, name = path.resolve(), path.stem
    if not name.isidentifier():
        raise InputError(f"plug-in {where}: {name!r} cannot be the name of a Python module")
    start = path / "__init__.py" if path.is_dir() else path
    other = importlib.util.find_spec(name)
    if other is not None and other.origin != str(start):  # it is itself in the current folder
        raise InputError(f"plug-in {where}: there is another module {name!r}; rename the file")
    if name in sys.modules:
        return sys.modules[name]
    if not start.exists():
        raise InputError(f"plug-in {where}: is no package, it has no __init__.py")
    inside = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, start, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"plug-in {where}: {_last_line(error, path)}") from None
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise InputError(f"plug-in {name}: {_last_line(error)}") from None


def _last_line(error: Exception, source: Path | None = None) -> str:
    """Return what a traceback ends with, and the last line of the plug-in's own that is in it."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if source is not None and (file == source or source in file.parents):
            places.append(f"{file.name} line {trace.tb_lineno}: ")
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and not places:
        places.append(f"line {error.lineno}: ")
    return (places[-1] if places else "") + describe(error)


def _joined(module: ModuleType, name: str, where: str) -> Plugin:
    source = _source(module)
    digest = _digest(source)
    members = tuple(_members(module, name, where))
    own = [each for each in vars(module).values() if getattr(each, "__module__", "") == name]
    if not members and not any(map(callable, own)):  # which may build a network
        bases = ", ".join(sorted({base.__name__ for base in open_unions()}))
        raise InputError(f"plug-in {where}: has no class that derives from one of {bases}")
    for kind in members:
        _check_names(kind, members, where)
        _check_columns(kind, where)
        if "version" not in vars(kind):
            kind.version = digest
    join(*members)
    PLUGIN_MODULES[name] = PluginModule(module, digest)
    return Plugin(name, source, digest, members)


def _source(module: ModuleType) -> Path:
    assert module.__file__ is not None
    file = Path(module.__file__).resolve()
    return file.parent if file.name == "__init__.py" else file


def _digest(source: Path) -> str:
    files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
    found = hashlib.sha256()
    for file in files:
        inside = file.relative_to(source) if source.is_dir() else Path(file.name)
        found.update(f"{inside.as_posix()} {file.stat().st_size}\n".encode() + file.read_bytes())
    return found.hexdigest()[:12]


def _members(module: ModuleType, name: str, where: str) -> list[type[Value]]:
    """Return the members that the module defines, or takes from its own package; abstract classes
    without a tag are bases of its own."""
    bases = tuple(open_unions())
    found: list[type[Value]] = []
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    for kind in dict.fromkeys(classes):
        if not issubclass(kind, bases) or kind in bases:
            continue
        if kind.__module__ != name and not kind.__module__.startswith(f"{name}."):
            continue
        missing = sorted(getattr(kind, "__abstractmethods__", ()))
        if tag_of(kind) is None:
            if missing or kind.__subclasses__():
                continue
            raise InputError(
                f"plug-in {where}: {kind.__name__} has no name: "
                f'write {kind.tag_field}: Literal["…"] = "…" in the class'
            )
        if missing:
            raise InputError(
                f"plug-in {where}: {kind.__name__} is abstract: it lacks {', '.join(missing)}"
            )
        found.append(kind)
    return found


def _check_names(kind: type[Value], members: Sequence[type[Value]], where: str) -> None:
    """Raise :class:`InputError` if another member of one of its unions has the same name."""
    for base, own in open_unions().items():
        if not issubclass(kind, base):
            continue
        for other in (*value_types(Union[tuple(own)]), *members):  # noqa: UP007
            if other is not kind and issubclass(other, base) and tag_of(other) == tag_of(kind):
                raise InputError(
                    f"plug-in {where}: {kind.__name__} has the name {tag_of(kind)!r}, and so has "
                    f"{other.__module__}.{other.__name__}"
                )


def _check_columns(kind: type[Value], where: str) -> None:
    """Raise :class:`InputError` if a field has another type than kdray's own of the same name:
    they are one column of the tables."""
    mine = leaf_types(kind)
    for base, own in open_unions().items():
        if not issubclass(kind, base):
            continue
        for path, wanted in leaf_types(Union[tuple(own)]).items():  # noqa: UP007
            found = mine.get(path, wanted)
            if found is not wanted and (found, wanted) != (int, float):
                raise InputError(
                    f"plug-in {where}: {kind.__name__}.{path} is {found.__name__}, and the column "
                    f"of that name is {wanted.__name__}; give the field another name"
                )


__all__ = [
    "Plugin",
    "load_installed_plugins",
    "load_plugin",
    "loaded_plugins",
    "plugin_of",
    "require_plugins",
    "unload_plugin",
    "worker_env",
]
