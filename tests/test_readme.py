"""The sweep files that the README shows are valid, and its commands are the command line's."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from kdray.cli import build_parser
from kdray.core.yaml import parse_text
from kdray.sweep.definition.read import sweep_from
from tests.readme import README, made
from tests.sweep.fakes import TINY

TEXT = README.read_text()
BLOCKS = dict(enumerate(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)))
SHELL = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = sorted(set(re.findall(r"^(kdray .*?)(?:\s+#.*)?$", SHELL, re.MULTILINE)))


def completed(block: dict[str, Any]) -> dict[str, Any]:
    """A whole sweep file of what a block shows of one."""
    shown = block.get("experiment", {})
    whole = {**TINY["experiment"], **shown} if "teacher" not in shown else {**shown}
    rest = {
        "name": "shown",
        "experiment": {"training": {"epochs": 1}, **whole},
        "evaluate": {},
        "seeds": 1,
    }
    return {**rest, **{key: value for key, value in block.items() if key != "experiment"}}


@pytest.mark.parametrize("number", BLOCKS)
def test_what_is_shown_of_sweep_files_is_valid(number: int) -> None:
    read = parse_text(BLOCKS[number], "README.md")
    assert read == yaml.safe_load(BLOCKS[number]) or "/" in BLOCKS[number]
    sweep = sweep_from(completed(read))
    assert sweep.spaces


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_that_are_shown_are_known(command: str) -> None:
    _, *arguments = shlex.split(command)
    assert build_parser().parse_args(arguments).command


def test_its_tables_are_those_of_the_code() -> None:
    assert made(TEXT) == TEXT, "python -m tests.readme writes them"


def test_there_is_something_to_check() -> None:
    assert len(BLOCKS) >= 3
    assert len(COMMANDS) >= 8
