"""Tables and figures of Knowledge Distillation via Smoothed Models and Adversarial Robustness
(Katz, Reches 2022).

    python analysis/smoothed_models.py RESULTS --out DIR

Tables 1 and 2 and figures 1 to 3 are of sweeps/smoothed_models/distillation.yaml and
adversarial.yaml. Table 3 and figures 4 to 6 need transferred attacks by step: kdray evaluate
RESULTS --suite sweeps/suites/smoothed_models.yaml, and for the smoothed teacher the same
evaluations with smoothing: {samples: 512, aggregate: prediction}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kdray.report import Draw, run
from papers.smoothed_models.figures import figure_1, figures_2_and_3, figures_4_to_6
from papers.smoothed_models.models import TITLE
from papers.smoothed_models.tables import table_1, table_2, table_3

DRAWS: tuple[Draw, ...] = (table_1, table_2, table_3, figure_1, figures_2_and_3, figures_4_to_6)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
