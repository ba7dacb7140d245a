"""How trials are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kdray.data import data_root
from kdray.sweep.definition.plugins import worker_env


@dataclass(frozen=True, kw_only=True)
class Options:
    """How trials are run; nothing here changes a number."""

    address: str | None = None
    """Of a running Ray cluster; none: a local Ray."""
    retry_failed: bool = False
    max_concurrent: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    data: Path = field(default_factory=data_root)
    runtime_env: Mapping[str, Any] = field(default_factory=partial(worker_env, {}))
    """What Ray prepares for every worker."""
