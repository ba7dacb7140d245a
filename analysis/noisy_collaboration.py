"""The figures of Noisy Collaboration in Knowledge Distillation from the results of its sweeps.

    python analysis/noisy_collaboration.py RESULTS --out DIR

after ``kdray run sweeps/noisy_collaboration/….yaml --results RESULTS`` and, for the
out-of-distribution images and several step sizes of PGD, ``kdray evaluate RESULTS --suite
sweeps/suites/noisy_collaboration.yaml``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kdray.report import Draw, run
from papers.noisy_collaboration.accuracies import (
    exponential,
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    figure_7,
    figure_8,
    figure_9,
    figure_12,
)
from papers.noisy_collaboration.natural_robustness import (
    figure_5,
    figure_6,
    figure_10,
    figure_11,
    figure_13,
)
from papers.noisy_collaboration.text_numbers import numbers_of_the_text

DRAWS: tuple[Draw, ...] = (
    figure_1,
    figure_2,
    figure_3,
    figure_4,
    exponential,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
    figure_9,
    figure_10,
    figure_11,
    figure_12,
    figure_13,
    numbers_of_the_text,
)


def main(argv: Sequence[str] | None = None) -> int:
    return run("Noisy Collaboration in Knowledge Distillation", DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
