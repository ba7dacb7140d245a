"""``kdray completion``: what a shell needs to complete kdray's commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from kdray.cli.exit_codes import OK
from kdray.cli.output import write_text
from kdray.cli.parser import build_parser

FILES = ("FILE", "SWEEP.yaml")
FOLDERS = ("DIR", "FOLDER")


def execute(chosen: argparse.Namespace) -> int:
    parser = build_parser()
    for action in _actions(parser):
        if action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    write_text(shtab.complete(parser, shell=chosen.shell), chosen.out)
    return OK


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of every command."""
    for action in parser._actions:  # argparse has no public way
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
