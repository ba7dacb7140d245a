"""The order of a sweep's figures."""

from __future__ import annotations

from pathlib import Path

from kdray.report.page.figures import figures
from tests.report.page.small import SIGMA, Small, two_by_two


def test_effects_pairs_trade_off_strengths_corruptions_and_epochs(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    for point in range(4):
        for seed in range(2):
            trial = f"s-student-{point}-{seed}"
            made.learning(trial, 0.1, 0.2)
            made.number(trial, "c", "corruptions", 0.4, corruption="fog", severity=1)
            for sigma in (0.1, 0.2, 0.3):
                made.number(trial, "noise", "gaussian_noise", 0.9 - sigma, sigma=sigma)
    assert [each.name for each in figures(made.group(), "s3")] == [
        "s3-effect-0",
        "s3-effect-1",
        "s3-pairs",
        "s3-trade-off",
        "s3-gaussian_noise-sigma",
        "s3-corruptions",
        "s3-epochs",
    ]


def test_without_a_completed_point_there_is_none(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [None], {SIGMA: 0.1})
    assert list(figures(made.group(), "s0")) == []
