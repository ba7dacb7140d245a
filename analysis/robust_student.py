"""Tables and figures of Robust Student Network Learning (Guo, Xu, He, Shi, Xu, Tao).

    python analysis/robust_student.py RESULTS --out DIR

Figure 2 and tables III and VI are of sweeps/robust_student/mnist.yaml, cifar.yaml and
domain_adaptation.yaml, table I of training_noise.yaml, tables II, IV and V of cifar.yaml, table VII
of student_sizes.yaml. Table V, figure 3 and what the sweeps leave out of figure 2 are measured by
kdray evaluate RESULTS --suite sweeps/suites/robust_student.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kdray.report import Draw, run
from papers.robust_student.figures import figure_2, figure_3
from papers.robust_student.networks import TITLE
from papers.robust_student.tables import (
    table_i,
    table_ii,
    table_iii,
    table_iv,
    table_v,
    table_vi,
    table_vii,
)

DRAWS: tuple[Draw, ...] = (
    figure_2,
    figure_3,
    table_i,
    table_ii,
    table_iii,
    table_iv,
    table_v,
    table_vi,
    table_vii,
)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
