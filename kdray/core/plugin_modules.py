"""The modules that a user has named as plug-ins, for what calls something of them by name."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple


class PluginModule(NamedTuple):
    """A module of a user's own."""

    module: ModuleType
    digest: str
    """Of its source."""


PLUGIN_MODULES: dict[str, PluginModule] = {}
"""By name; filled by :mod:`kdray.sweep.definition.plugins`."""
