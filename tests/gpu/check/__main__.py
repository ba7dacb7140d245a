"""Every part of the check in turn, each in a process of its own, and one table of all: ``make
gpu``.

    python -m tests.gpu.check [PART …] [--device cpu] [--out FILE]

Ten minutes on one CUDA GPU. The table is printed and, as Markdown, written after every part. One
that fails or takes too long keeps the figures that it had, and the others theirs. The exit status
is 0; 1 if a part failed or a figure is not as aimed at; 2 if there is no GPU to check. With
``--device cpu`` all but what only CUDA has is tried in small sizes: that tests these programs, and
says nothing of a GPU.
"""

from __future__ import annotations

import sys

import torch

from tests.benchmarks.frame import Collection, failed_parts, in_turn, missed, parser_of

PROGRAM = "python -m tests.gpu.check"
SECONDS = 600.0
CHECK = Collection(
    "kdray on a GPU",
    "tests.gpu.check",
    {
        "right": "1. Right: the same bits again, the same numbers as on the CPU, no waits",
        "memory": "2. Memory: CUDA's own, a training's, what a cap permits",
        "speed": "3. Speed beside the arithmetic and the bytes of the card",
        "sharing": "4. Trials side by side",
        "suite": "5. The full suite",
        "switches": "6. What each switch gains, and what bit-exactness costs",
    },
    {"right": 2.5, "memory": 1.0, "speed": 1.5, "sharing": 1.0, "suite": 2.5, "switches": 1.5},
)


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = parser_of(CHECK, PROGRAM, "Check what kdray does on a GPU, and how fast.")
    parser.add_argument(
        "--device",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu: only try these programs, in small sizes",
    )
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        print(
            "torch finds no CUDA GPU here (kdray doctor says more); --device cpu tries the check "
            "itself",
            file=sys.stderr,
        )
        return 2
    found = in_turn(CHECK, asked.parts, ["--device", asked.device], asked.out, SECONDS)
    return 1 if failed_parts(found) or missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
