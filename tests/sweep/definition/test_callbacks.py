"""What a sweep file says of where a running sweep is shown as well."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdray.core import InputError, parse
from kdray.results import Store
from kdray.sweep.definition.callbacks import Callbacks

ALL = [
    {"name": "tensorboard"},
    {"name": "wandb", "project": "kd", "offline": True},
    {"name": "mlflow", "experiment": "noise"},
]


@pytest.mark.ray
def test_validating_loads_none_of_what_would_show_a_sweep() -> None:
    code = (
        "import sys; from kdray.core import parse; "
        "from kdray.sweep.definition.callbacks import Callbacks; "
        f"parse(Callbacks, {ALL!r}); print(sys.modules.keys() & {{'ray', 'wandb', 'mlflow', "
        f"'tensorboardX'}})"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            [{"name": "tensorbord"}],
            "did you mean 'tensorboard'? (allowed: tensorboard, wandb, mlflow)",
        ),
        (
            [{"name": "mlflow", "uri": "x"}],
            "uri: unknown key (allowed: experiment, name, tracking_uri)",
        ),
        (
            [{"name": "mlflow"}, {"name": "mlflow", "tracking_uri": "http://127.0.0.1"}],
            "mlflow is there twice",
        ),
    ],
)
def test_what_is_wrong_is_said(written: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(Callbacks, written, "callbacks")
    assert str(caught.value).startswith("callbacks")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("name", "installs"),
    [("tensorboard", "tensorboardX"), ("wandb", "wandb"), ("mlflow", "mlflow-skinny")],
)
def test_a_missing_package_is_named_before_any_work(
    name: str, installs: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.definition.callbacks.find_spec", lambda _: None)
    (callback,) = parse(Callbacks, [{"name": name}])
    with pytest.raises(
        InputError, match=f"^callbacks: {name}: .*not installed: pip install {installs}$"
    ):
        callback.check(Store(results))


@pytest.mark.parametrize(
    ("name", "field"), [("tensorboard", "folder"), ("wandb", "folder"), ("mlflow", "tracking_uri")]
)
def test_results_elsewhere_hold_no_files_of_others(
    name: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.definition.callbacks.find_spec", lambda _: True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    elsewhere = Store("mock:///results")
    (callback,) = parse(Callbacks, [{"name": name}])
    with pytest.raises(InputError, match=f"^callbacks: {name}: {field} is required"):
        callback.check(elsewhere)
    (callback,) = parse(Callbacks, [{"name": name, field: "somewhere"}])
    callback.check(elsewhere)


@pytest.mark.parametrize(
    ("key", "offline", "wrong"),
    [(None, False, True), ("k" * 40, False, False), (None, True, False)],
)
def test_weights_and_biases_needs_a_login_unless_it_is_offline(
    key: str | None, offline: bool, wrong: bool, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.definition.callbacks.find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(api=SimpleNamespace(api_key=key)))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (callback,) = parse(Callbacks, [{"name": "wandb", "offline": offline}])
    if wrong:
        with pytest.raises(InputError, match="not logged in"):
            callback.check(Store(results))
    else:
        callback.check(Store(results))
