"""The sentence on differences takes the largest, and says how sure they are."""

from __future__ import annotations

from typing import Any

from kdray.report.page.difference_sentence import difference_sentence
from kdray.report.page.statistics import (
    HIGHER,
    LOWER,
    NOT_SIGNIFICANT,
    UNKNOWN,
    Compared,
    Comparison,
)


def row(point: int, difference: float | None, verdict: str = NOT_SIGNIFICANT) -> Compared:
    mean = 0.5 + (difference or 0.0)
    rest: dict[str, Any] = {"interval": "", "t_p": "", "wilcoxon_p": "", "effect": ""}
    return Compared(point, "", "5, paired", 0.1, mean, 0.5, difference, **rest, verdict=verdict)


def comparison(*rows: Compared, metric: str = "val_accuracy") -> Comparison:
    return Comparison(metric, rows, "", "5 seeds")


def test_the_largest_differences_up_and_down_the_larger_first() -> None:
    found = comparison(row(1, 0.02), row(2, 0.1, HIGHER), row(3, -0.2, LOWER), row(4, -0.01))
    assert difference_sentence("point 0", [found]) == (
        "Against point 0: val_accuracy is lower by up to 0.200 (point 3: 0.300 against 0.500) and "
        "higher by up to 0.100 (point 2: 0.600 against 0.500); "
        "2 of 4 differences are significant at 5 % after Holm's correction."
    )


def test_one_direction_only() -> None:
    assert difference_sentence("x", [comparison(row(1, 0.02), row(2, 0.1, HIGHER))]) == (
        "Against x: val_accuracy is higher by up to 0.100 (point 2: 0.600 against 0.500); "
        "1 of 2 differences is significant at 5 % after Holm's correction."
    )


def test_of_several_metrics_the_first_and_the_last_are_named() -> None:
    metrics = [
        comparison(row(1, 0.1, HIGHER), metric="first"),
        comparison(row(1, 0.1, HIGHER), metric="second"),
        comparison(row(1, -0.2), metric="third"),
    ]
    text = difference_sentence("x", metrics)
    assert "first is higher by up to 0.100" in text
    assert "second" not in text
    assert "third is lower by up to 0.200" in text
    assert "1 of 1 difference is significant" in text
    assert "with 5 seeds no difference is significant" in text


def test_what_is_the_same_of_both_metrics_is_written_once() -> None:
    metrics = [comparison(row(1, 0.1)), comparison(row(1, -0.2), metric="other")]
    assert difference_sentence("x", metrics).count("no difference is significant") == 1


def test_points_that_do_not_differ() -> None:
    assert difference_sentence("x", [comparison(row(1, 0.0), row(2, 0.0))]) == (
        "Against x: val_accuracy is the same everywhere."
    )


def test_too_few_seeds_to_say() -> None:
    assert difference_sentence("x", [comparison(row(1, 0.3, UNKNOWN))]) == (
        "With so few seeds no difference between points can be told from chance."
    )


def test_nothing_to_compare_is_no_sentence() -> None:
    assert difference_sentence("x", []) == ""
    assert difference_sentence("x", [comparison(row(1, None))]) == ""
    assert difference_sentence("x", [Comparison("m", (), "no such point", "")]) == ""
