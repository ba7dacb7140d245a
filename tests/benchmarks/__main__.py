"""Every benchmark in turn, each in a process of its own, and one table of all: ``make bench``.

    python -m tests.benchmarks [NAME …] [--short] [--out FILE]

The table is printed and, as Markdown, written after every part. One that fails keeps the figures
that it had, and the others theirs; the exit status is 1 then. An aim that is missed is told and is
no failure.
"""

from __future__ import annotations

import sys

from tests.benchmarks.frame import Collection, failed_parts, in_turn, parser_of

BENCHMARKS = Collection(
    "kdray's benchmarks",
    "tests.benchmarks",
    {
        "distillation": "1. Distillation beside plain training",
        "batches": "2. Batches beside a DataLoader",
        "sweep_overhead": "3. A sweep beside its trials alone",
        "robustness": "4. Attacks and corruptions beside their peers",
        "steps": "5. Training steps with gradients of gradients and with attacks",
        "memory": "6. Memory",
        "reading": "7. Reading and planning",
        "precision": "8. Precision and compilation",
        "slopes": "How cost grows",
    },
)


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 if a part failed."""
    parser = parser_of(BENCHMARKS, "python -m tests.benchmarks", "Measure what kdray costs.")
    parser.add_argument("--short", action="store_true", help="fewer repeats, smaller cases")
    asked = parser.parse_args(arguments)
    found = in_turn(BENCHMARKS, asked.parts, ["--short"] if asked.short else [], asked.out)
    return 1 if failed_parts(found) else 0


if __name__ == "__main__":
    sys.exit(main())
