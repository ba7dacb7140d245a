"""The arguments that several commands take, and the numbers that they may be."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def _number(kind: type[int] | type[float], least: float, wanted: str) -> Callable[[str], Any]:
    """A reader of numbers for argparse."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return read


WHOLE_NUMBER_FROM_1 = _number(int, 1, "a whole number from 1")
WHOLE_NUMBER_FROM_0 = _number(int, 0, "a whole number from 0")
NUMBER_ABOVE_0 = _number(float, 0.001, "a number above 0")
NUMBER_FROM_0 = _number(float, 0, "a number from 0")


def sweep_and_results(command: argparse.ArgumentParser) -> None:
    """Add the sweep's file, its results, and what changes either."""
    command.add_argument("sweep", metavar="SWEEP.yaml", help="sweep file")
    command.add_argument(
        "--results", metavar="DIR", default="results", help="results folder or URI (results)"
    )
    command.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="override a value (repeatable)",
    )
    command.add_argument(
        "--smoke", action="store_true", help="shrink it to about a minute; results in DIR-smoke"
    )
    data_folder(command)


def cluster_or_local_ray(command: argparse.ArgumentParser) -> None:
    """Add which Ray the trials run on, and how many at once."""
    command.add_argument(
        "--address", metavar="ADDR", help="a running Ray cluster (auto: the one on this machine)"
    )
    local_ray(command)


def local_ray(command: argparse.ArgumentParser) -> None:
    """Add how much of this machine the local Ray may use."""
    command.add_argument(
        "--max-concurrent",
        metavar="N",
        type=WHOLE_NUMBER_FROM_1,
        help="at most so many trials at once",
    )
    command.add_argument(
        "--cpus", metavar="N", type=WHOLE_NUMBER_FROM_1, help="CPUs of the local Ray (all)"
    )
    command.add_argument(
        "--gpus", metavar="N", type=WHOLE_NUMBER_FROM_0, help="GPUs of the local Ray (all)"
    )


def data_folder(command: argparse.ArgumentParser, name: str = "--data") -> None:
    """Add the option for the folder of the data sets."""
    command.add_argument(
        name, metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )
