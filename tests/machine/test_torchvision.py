from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import kdray
from kdray.machine import torchvision as compat
from tests.imports import imports

PACKAGE = Path(kdray.__file__).parent


def test_torchvisions_data_sets_import_in_a_new_process_without_a_warning() -> None:
    script = (
        "from kdray.machine.torchvision import torchvision_part\nfound = lambda: torchvision_part('datasets')\n"
        "assert found() is found()\n"
        "print(found().__name__, found().MNIST.__name__, found().CIFAR10.__name__)"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (
        0,
        ["torchvision.datasets", "MNIST", "CIFAR10"],
        "",
    )


class Declarations:
    """In the place of torch.library.Library: notes what is declared."""

    made: list[tuple[str, str]]
    schemas: list[str]

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.schemas = [], []
        monkeypatch.setattr(torch.library, "Library", self.library)
        monkeypatch.setattr(compat, "_LIBRARIES", [])

    def library(self, namespace: str, kind: str) -> Declarations:
        self.made.append((namespace, kind))
        return self

    def define(self, schema: str) -> None:
        self.schemas.append(schema)


@pytest.fixture
def declarations(monkeypatch: pytest.MonkeyPatch) -> Declarations:
    compat.torchvision_part(
        "datasets"
    )  # imported for good, so that nothing else depends on what is declared below
    return Declarations(monkeypatch)


def test_nothing_is_declared_where_the_operators_load(
    declarations: Declarations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "_operators_load", lambda: True)
    assert compat.torchvision_part.__wrapped__("datasets") is compat.torchvision_part("datasets")
    assert not declarations.made
    assert not compat._LIBRARIES


def test_the_missing_operators_are_declared_where_they_do_not_load(
    declarations: Declarations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "_operators_load", lambda: False)
    monkeypatch.setattr(torch.ops, "torchvision", object())
    assert compat.torchvision_part.__wrapped__("datasets") is compat.torchvision_part("datasets")
    assert declarations.made == [("torchvision", "FRAGMENT")]
    assert [schema.partition("(")[0] for schema in declarations.schemas] == ["nms", "qnms"]
    assert len(compat._LIBRARIES) == 1  # kept alive, and its schemas with it


def test_an_operator_that_is_there_is_not_declared_again(
    declarations: Declarations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat, "_operators_load", lambda: False)
    monkeypatch.setattr(torch.ops, "torchvision", type("Operators", (), {"nms": None}))
    compat.torchvision_part.__wrapped__("datasets")
    assert [schema.partition("(")[0] for schema in declarations.schemas] == ["qnms"]


def test_a_missing_torchvision_is_left_to_the_import_to_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda _: None)
    assert compat._operators_load()


def test_an_extension_that_cannot_be_loaded_has_no_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str) -> None:
        raise OSError(f"{path}: undefined symbol")

    monkeypatch.setattr(torch.ops, "load_library", refuse)
    assert not compat._operators_load()


def test_compat_alone_imports_torchvision() -> None:
    found = {
        path
        for path in PACKAGE.rglob("*.py")
        for name in imports(path)
        if name.split(".")[0] == "torchvision"
    }
    assert found <= {PACKAGE / "compat.py"}
