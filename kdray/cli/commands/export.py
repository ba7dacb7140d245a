"""``kdray export``: a trained model for others."""

from __future__ import annotations

import argparse

from kdray.cli.exit_codes import FAILED, OK
from kdray.cli.output import complain
from kdray.exporting import TOLERANCE, Disagreement, export
from kdray.sweep.definition.plugins import load_installed_plugins


def execute(chosen: argparse.Namespace) -> int:
    load_installed_plugins()
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
        complain(f"kdray: trial {chosen.trial_id}: {error}; nothing was written")
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
