"""What the command line takes: every command with its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from kdray import __version__
from kdray.cli.arguments import (
    NUMBER_ABOVE_0,
    NUMBER_FROM_0,
    cluster_or_local_ray,
    data_folder,
    local_ray,
    sweep_and_results,
)
from kdray.core import InputError

WITHOUT_PLUGINS = ("compact", "completion", "forget", "report")
"""Commands that read tables only, whatever their rows describe."""

Add = Callable[[str, str, str], argparse.ArgumentParser]
"""Adds a command by its name, what it does, and an example."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} ({self.prog} --help shows what is allowed)")


def build_parser() -> Parser:
    """The parser of every command; what it gives has ``command``, the command's name."""
    parser = Parser(
        prog="kdray",
        description="Sweeps of noisy and robust knowledge distillation, run on Ray.",
        epilog="example: kdray run sweeps/quickstart.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kdray {__version__}")
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        command = subparsers.add_parser(
            name,
            help=text,
            description=f"{text[:1].upper()}{text[1:]}.",
            epilog=f"example: {example}",
            allow_abbrev=False,
        )
        command.set_defaults(command=name)
        if name not in WITHOUT_PLUGINS:
            command.add_argument(
                "--plugin",
                metavar="FILE",
                action="append",
                default=[],
                help="a Python file, package folder or module whose members join what a sweep "
                "file can name (repeatable; also KDRAY_PLUGINS)",
            )
        return command

    for describe in (
        _run,
        _plan,
        _status,
        _evaluate,
        _report,
        _export,
        _import,
        _compact,
        _forget,
        _list,
        _data,
        _schema,
        _completion,
        _doctor,
    ):
        describe(add)
    return parser


def _run(add: Add) -> None:
    command = add(
        "run",
        "run a sweep: whatever its results lack",
        "kdray run sweeps/quickstart.yaml --results results",
    )
    sweep_and_results(command)
    cluster_or_local_ray(command)
    command.add_argument(
        "--retry-failed", action="store_true", help="try failed and diverged trials again"
    )


def _plan(add: Add) -> None:
    command = add(
        "plan", "say what run would do; train nothing", "kdray plan sweeps/quickstart.yaml"
    )
    sweep_and_results(command)
    local_ray(command)
    command.add_argument(
        "--retry-failed", action="store_true", help="count failed and diverged trials as to be run"
    )


def _status(add: Add) -> None:
    command = add("status", "say how the sweeps in a results folder stand", "kdray status results")
    command.add_argument("results", metavar="DIR", help="results folder")
    command.add_argument(
        "trial_id",
        metavar="TRIAL_ID",
        nargs="?",
        help="one trial; the first letters of its id will do",
    )
    command.add_argument("--trials", action="store_true", help="list every trial with its id")


def _evaluate(add: Add) -> None:
    command = add(
        "evaluate",
        "measure new evaluations on stored weights",
        "kdray evaluate results --suite suite.yaml",
    )
    command.add_argument("results", metavar="DIR", help="results folder")
    command.add_argument(
        "--suite", metavar="FILE", required=True, help="YAML list of evaluations, or a sweep's file"
    )
    command.add_argument(
        "--trial", metavar="ID", action="append", help="only this trial (repeatable)"
    )
    command.add_argument("--role", choices=["teacher", "student"], help="only trials in this role")
    command.add_argument(
        "--cpu", metavar="N", type=NUMBER_ABOVE_0, default=1.0, help="CPUs per trial (1)"
    )
    command.add_argument(
        "--gpu", metavar="F", type=NUMBER_FROM_0, default=0.0, help="part of a GPU per trial (0)"
    )
    command.add_argument("--retry-failed", action="store_true", help="try failed evaluations again")
    data_folder(command)
    cluster_or_local_ray(command)


def _report(add: Add) -> None:
    command = add(
        "report",
        "make one page of all that the results say",
        "kdray report results --out report.html",
    )
    command.add_argument("results", metavar="DIR", help="results folder or URI")
    command.add_argument("--sweep", metavar="NAME", help="of this sweep only (all)")
    command.add_argument(
        "--baseline",
        metavar="POINT|PATH=VALUE",
        help="what points are compared with: a point's number, a case's name, or path=value,… "
        "(the best point)",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        default="report.html",
        help="a page (.html), or the table of points (.csv, .tex) (report.html)",
    )


def _export(add: Add) -> None:
    command = add(
        "export",
        "take a trained model out, with a model card",
        "kdray export results 3f2a --format onnx",
    )
    command.add_argument("results", metavar="DIR", help="results folder")
    command.add_argument(
        "trial_id",
        metavar="TRIAL_ID",
        help="the first letters of its id will do ('kdray status DIR --trials' lists them)",
    )
    command.add_argument(
        "--format",
        choices=["safetensors", "huggingface", "onnx", "torch-export"],
        default="safetensors",
        help="safetensors: for kdray.load_model; huggingface: the same, with what the Hub reads "
        "of a card; onnx: for ONNX Runtime; torch-export: for "
        "torch alone (safetensors)",
    )
    command.add_argument(
        "--out", metavar="FOLDER", help="where the model and its card go (TRIAL_ID-FORMAT)"
    )
    command.add_argument(
        "--noise",
        choices=["active", "off"],
        default="active",
        help="of a model that draws at every pass. off: every weight at its mean, nothing added "
        "to the image (active)",
    )
    command.add_argument("--force", action="store_true", help="replace an earlier export in FOLDER")
    data_folder(command)


def _import(add: Add) -> None:
    command = add(
        "import",
        "make a model that somebody else trained a trial, to be measured like any other",
        "kdray import results --weights net.pt --model '{name: wide_resnet, depth: 28, width: 10}' "
        "--data '{name: cifar10}' --normalization '{mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, "
        "0.26]}' --expect-accuracy 0.95",
    )
    command.add_argument("results", metavar="DIR", help="results folder or URI")
    command.add_argument(
        "--weights", metavar="FILE", required=True, help="safetensors, or a state dict (.pt, .pth)"
    )
    command.add_argument(
        "--model", metavar="MAPPING", required=True, help="the network, as in a sweep file"
    )
    command.add_argument(
        "--data",
        metavar="MAPPING",
        dest="data_set",
        required=True,
        help="what it is measured on, as in a sweep file",
    )
    command.add_argument(
        "--normalization",
        metavar="MAPPING",
        default="none",
        help="{mean, std} by channel of images in [0, 1], as in its training (none)",
    )
    command.add_argument("--name", metavar="NAME", help="what tables call it (the file's name)")
    command.add_argument(
        "--sweep", metavar="NAME", default="imported", help="the sweep that it joins (imported)"
    )
    command.add_argument(
        "--expect-accuracy",
        metavar="F",
        type=NUMBER_FROM_0,
        help="its test accuracy where it was trained: far below it is a warning",
    )
    data_folder(command, "--data-folder")


def _compact(add: Add) -> None:
    command = add(
        "compact",
        "put the many files of results into few, which open faster",
        "kdray compact results",
    )
    command.add_argument("results", metavar="DIR", help="results folder or URI")


def _forget(add: Add) -> None:
    command = add(
        "forget",
        "delete trials and all that was measured of them",
        "kdray forget results 3f2a 91c0",
    )
    command.add_argument("results", metavar="DIR", help="results folder")
    command.add_argument(
        "trial_ids",
        metavar="TRIAL_ID",
        nargs="+",
        help="the first letters of an id will do ('kdray status DIR --trials')",
    )


def _list(add: Add) -> None:
    command = add("list", "list what a sweep file can name", "kdray list methods")
    command.add_argument("what", choices=["models", "methods", "noise", "datasets", "evaluations"])


def _data(add: Add) -> None:
    command = add("data", "fetch or check a data set", "kdray data mnist --data ~/datasets")
    command.add_argument(
        "name", metavar="NAME", help="mnist, usps, cifar10, …: 'kdray list datasets' names all"
    )
    data_folder(command)
    command.add_argument("--check", action="store_true", help="check only, fetch nothing")


def _schema(add: Add) -> None:
    command = add(
        "schema",
        "write the JSON Schema of a sweep file, for an editor",
        "kdray schema --out kdray.schema.json",
    )
    command.add_argument("--out", metavar="FILE", help="where it goes (stdout)")


def _completion(add: Add) -> None:
    command = add(
        "completion",
        "write what a shell completes kdray's commands by",
        "kdray completion bash --out ~/.local/share/bash-completion/completions/kdray",
    )
    command.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    command.add_argument("--out", metavar="FILE", help="where it goes (stdout)")


def _doctor(add: Add) -> None:
    command = add(
        "doctor", "say what works on this machine, and what to do about the rest", "kdray doctor"
    )
    data_folder(command)
