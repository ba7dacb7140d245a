from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kdray
from tests.imports import imports, private_names

PACKAGE = Path(kdray.__file__).parent

ORDER = [
    "core",
    "machine",
    "data",
    "perturbations",
    "models",
    "methods",
    "robustness",
    "teachers",
    "training",
    "results",
    "trials",
    "report",
    "exporting",
    "sweep",
    "cli",
    "testing",
]
"""Every package directly below kdray; one imports from those before it and from itself."""
INSIDE_SWEEP = [
    "definition",
    "inventory",
    "search",
    "scheduling",
    "execution",
    "run",
    "plan",
    "evaluate",
    "importing",
    "status",
]
"""Every module and package directly below kdray.sweep, likewise."""
EXEMPT = {"__init__", "__main__"}
"""The front door: what is public is imported when it is first used."""


def part(path: Path) -> str:
    """The module or package directly below kdray that the file at ``path`` belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if part(path) not in EXEMPT]


def module(path: Path) -> str:
    return ".".join(("kdray", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )


def package(path: Path) -> str:
    """What a relative import in the file at ``path`` starts from."""
    return module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]


def imported_parts(path: Path) -> set[str]:
    """The parts of kdray that the file at ``path`` imports from, without its own and without
    kdray's own names."""
    names = [name.split(".") for name in imports(path, package(path))]
    inside = {name[1] for name in names if name[0] == "kdray" and len(name) > 1}
    return {name for name in inside if name in ORDER} - {part(path)}


def allowed(importer: str, imported: str) -> bool:
    return ORDER.index(imported) < ORDER.index(importer)


def test_every_package_has_its_place() -> None:
    assert {part(path) for path in files()} <= set(ORDER)


@pytest.mark.parametrize("path", files(), ids=module)
def test_a_module_imports_from_lower_layers_only(path: Path) -> None:
    assert {name for name in imported_parts(path) if not allowed(part(path), name)} == set()


def part_of_sweep(path: Path) -> str:
    return path.relative_to(PACKAGE / "sweep").with_suffix("").parts[0]


SWEEP_FILES = [path for path in files() if part(path) == "sweep" and path.name != "__init__.py"]


def test_every_part_of_sweep_has_its_place() -> None:
    assert {part_of_sweep(path) for path in SWEEP_FILES} == set(INSIDE_SWEEP)


@pytest.mark.parametrize("path", SWEEP_FILES, ids=module)
def test_a_part_of_sweep_imports_from_those_before_it_only(path: Path) -> None:
    names = [name.split(".") for name in imports(path, package(path))]
    imported = {name[2] for name in names if name[:2] == ["kdray", "sweep"] and len(name) > 2}
    own = INSIDE_SWEEP.index(part_of_sweep(path))
    assert {name for name in imported if INSIDE_SWEEP.index(name) > own} == set()


def test_lower_layers_may_be_imported_and_others_not() -> None:
    assert allowed("models", "data")
    assert not allowed("data", "models")
    assert not allowed("teachers", "training")
    assert not allowed("core", "sweep")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import kdray.sweep.execution.runner", "kdray.sweep.execution.runner"),
        ("from kdray.core import seeds", "kdray.core.seeds"),
        ("from kdray.data import base as b", "kdray.data.base"),
        ("def late():\n    from kdray.models import MLP", "kdray.models.MLP"),
        ("if False:\n    import os, ray.tune as tune", "ray.tune"),
        ("from . import size", "kdray.models.size"),
        ("from .size import Size", "kdray.models.size.Size"),
        ("from ..data import base", "kdray.data.base"),
        ("import importlib\nimportlib.import_module('optuna.trial')", "optuna.trial"),
    ],
)
def test_every_way_to_import_is_seen(line: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(line)
    assert found in imports(path, "kdray.models")


def test_the_imports_of_a_known_module_are_found() -> None:
    assert imported_parts(PACKAGE / "trials/run.py") >= {"core", "data", "models", "training"}
    assert imported_parts(PACKAGE / "models" / "base.py") == {"core", "data"}


def using(library: str) -> set[str]:
    """Where ``library`` is imported: parts of kdray, of results its modules."""
    found = [path for path in files() if library in {name.split(".")[0] for name in imports(path)}]
    return {
        module(path).removeprefix("kdray.") if part(path) == "results" else part(path)
        for path in found
    }


def test_sweep_alone_imports_ray_and_optuna() -> None:
    assert using("ray") == {"sweep"}
    assert using("optuna") == {
        "sweep",
        "results.points.importance",
    }  # which hands it numbers of its own, for their variances


def test_nothing_private_of_ray_is_used() -> None:
    """Where Ray is imported no private name of anything but the object itself is."""
    found = {
        f"{module(path)}: {name}"
        for path in files()
        if "ray" in {name.split(".")[0] for name in imports(path)}
        for name in private_names(path)
    }
    assert found == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import ray._private.services", "ray._private.services"),
        (
            "from ray.air.integrations.wandb import (\n    A,\n    _B)",
            "ray.air.integrations.wandb._B",
        ),
        ("ray.init(_memory=1)", "_memory"),
        ("callback._logger_actor_cls = Logging", "callback._logger_actor_cls"),
        ("self._node._replace(cpu=0)", None),
    ],
)
def test_every_use_of_a_private_name_is_seen(line: str, found: str | None, tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(line)
    assert private_names(path) == ({found} if found else set())


def test_ray_calls_public_what_is_taken_from_it() -> None:
    """By its own marks, which say too what may still change (developer API)."""
    for path in files():
        for name in imports(path):
            if not name.startswith("ray.") or name.count(".") < 2:
                continue
            home, _, member = name.rpartition(".")
            taken = getattr(import_module(home), member)
            assert hasattr(taken, "_annotated_type"), f"{module(path)} takes {name}"


@pytest.mark.parametrize("name", ["actor", "callback_adapter", "tune_searcher"])
def test_nothing_private_of_rays_classes_is_overridden(name: str) -> None:
    for ours in vars(import_module(f"kdray.sweep.execution.{name}")).values():
        if isinstance(ours, type) and ours.__module__.startswith("kdray."):
            theirs = [base for base in ours.__mro__ if base.__module__.startswith("ray.")]
            private = {each for each in vars(ours) if each.startswith("_") and each[1] != "_"}
            taken = {each for base in theirs for each in vars(base)}
            assert private & taken - {"_abc_impl"} == set(), ours


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("kdray.sweep.definition.read", {"pandas", "pyarrow", "ray", "optuna", "scipy"}),
        ("kdray.sweep.execution.actor", {"optuna", "scipy"}),
    ],
)
def test_what_takes_long_to_import_waits_until_it_is_used(module: str, late: set[str]) -> None:
    """A run starts Ray once its sweep is read; every worker imports what is trained."""
    code = f"import sys, {module}; print(*{late} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == []


def test_reading_results_loads_neither_torch_nor_ray() -> None:
    script = (
        "import sys\n"
        "heavy = ('torch', 'torchvision', 'ray', 'optuna', 'safetensors')\n"
        "import kdray\n"
        "assert not {'pandas', *heavy} & set(sys.modules), 'import kdray'\n"
        "from kdray.results import open_results\n"
        "assert not set(heavy) & set(sys.modules), 'import kdray.results'\n"
        "kdray.open_results, kdray.InputError\n"
        "assert not set(heavy) & set(sys.modules), 'kdray.open_results'"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_what_kdray_offers_is_what_it_lists() -> None:
    for name in kdray.__all__:
        assert getattr(kdray, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        kdray.nonsense  # noqa: B018
