"""``kdray export``: a trained model for others."""

from __future__ import annotations

import argparse
import sys

from kdray.cli.status import FAILED, OK


def export(chosen: argparse.Namespace) -> int:
    from kdray.exporting import TOLERANCE, Disagreement, export

    try:
        written = export(
            chosen.results,
            chosen.trial_id,
            chosen.format,
            out=chosen.out,
            noise=chosen.noise,
            data=chosen.data,
            force=chosen.force,
        )
    except Disagreement as error:
        print(f"kdray: trial {chosen.trial_id}: {error}; nothing was written", file=sys.stderr)
        return FAILED
    found = ", ".join(
        f"{difference:.2g} on {images}" for images, difference in written.differences.items()
    )
    print(f"read back and compared: the logits differ by at most {found} (allowed: {TOLERANCE:g})")
    if written.quiet:
        counted = ", ".join(
            f"{split} {share.correct / share.examples:.4f}"
            for split, share in written.quiet.items()
        )
        print(f"accuracy without the noise that it was trained with: {counted}")
    print(f"{written.model}\n{written.card}")
    return OK


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("results", metavar="DIR", help="results folder")
    command.add_argument(
        "trial_id",
        metavar="TRIAL_ID",
        help="the first letters of its id will do ('kdray status DIR --trials' lists them)",
    )
    command.add_argument(
        "--format",
        choices=["safetensors", "onnx", "torch-export"],
        default="safetensors",
        help="safetensors: for kdray.load_model; onnx: for ONNX Runtime; torch-export: for "
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
    command.add_argument(
        "--data", metavar="DIR", help="where data sets are (KDRAY_DATA, else ~/.cache/kdray)"
    )
