"""``kdray import``: a model that somebody else trained."""

from __future__ import annotations

import argparse
from typing import Any

from kdray.cli.exit_codes import OK
from kdray.cli.output import complain
from kdray.core import InputError
from kdray.core.yaml import parse_text
from kdray.sweep.definition.plugins import load_installed_plugins
from kdray.sweep.importing import import_model


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
    imported = import_model(
        chosen.results,
        chosen.weights,
        model=_mapping(chosen.model, "--model"),
        data=_mapping(chosen.data_set, "--data"),
        normalization=_normalization(chosen.normalization),
        sweep=chosen.sweep,
        name=chosen.name,
        data_folder=chosen.data_folder,
    )
    there = " (was there already)" if imported.was_there else ""
    print(
        f"trial {imported.trial_id}, {imported.name} in sweep {imported.sweep}{there}: "
        f"{imported.parameters:,} parameters, accuracy {imported.accuracies['test']:.4f} (test), "
        f"{imported.accuracies['val']:.4f} (val)"
    )
    if (doubt := imported.doubt(chosen.expect_accuracy)) is not None:
        complain(f"kdray: warning: {doubt}")
    print(f"next: kdray evaluate {chosen.results} --suite SUITE.yaml --trial {imported.trial_id}")
    return OK


def _mapping(text: str, option: str) -> dict[str, Any]:
    read = parse_text(text, option)
    if not isinstance(read, dict):
        raise InputError(f"{option}: needs a mapping, as in a sweep file, not {text!r}")
    return read


def _normalization(text: str) -> dict[str, Any] | str:
    return text if text == "none" else _mapping(text, "--normalization")
