"""The sentence that says what the comparison with a baseline found."""

from __future__ import annotations

from collections.abc import Sequence

from kdray.core.wording import counted, percent
from kdray.report.page.statistics import LEVEL, UNKNOWN, Compared, Comparison


def difference_sentence(baseline: str, comparisons: Sequence[Comparison]) -> str:
    """Say how far the points are from ``baseline`` in the first metric and the last: an objective,
    and a robust accuracy where one was measured. Nothing if no difference is known."""
    known = [each for each in comparisons if any(row.difference is not None for row in each.rows)]
    if not known:
        return ""
    if all(row.verdict == UNKNOWN for each in known for row in each.rows):
        return "With so few seeds no difference between points can be told from chance."
    ends = [known[0], *known[1:][-1:]]
    notes = [_significance(each) for each in ends]
    if len(set(notes)) == 1:  # written once, at the end
        notes = [""] * (len(notes) - 1) + notes[-1:]
    parts = [f"{_largest(each)}{note}" for each, note in zip(ends, notes, strict=True)]
    return f"Against {baseline}: {'; '.join(parts)}."


def _largest(comparison: Comparison) -> str:
    """Write the largest differences of one metric, up and down, the larger one first."""
    rows = [(row.difference, row) for row in comparison.rows if row.difference is not None]
    ends = sorted(
        [max(rows, key=lambda each: each[0]), min(rows, key=lambda each: each[0])],
        key=lambda each: -abs(each[0]),
    )
    up = [_effect(difference, row) for difference, row in ends if difference > 0][:1]
    down = [_effect(difference, row) for difference, row in ends if difference < 0][:1]
    both = [*up, *down] if ends[0][0] > 0 else [*down, *up]
    return f"{comparison.metric} is {' and '.join(both) or 'the same everywhere'}"


def _significance(comparison: Comparison) -> str:
    """Write how many of the differences are more than chance explains."""
    level = f"at {percent(LEVEL)} after Holm's correction"
    if not any(row.difference for row in comparison.rows):
        return ""
    if not comparison.different:
        return (
            f"; with {comparison.seeds} no difference is significant {level}, more seeds would tell"
        )
    verb = "is" if comparison.different == 1 else "are"
    total = counted(len(comparison.rows), "difference")
    return f"; {comparison.different} of {total} {verb} significant {level}"


def _effect(difference: float, row: Compared) -> str:
    baseline = "" if row.baseline is None else f" against {row.baseline:.3f}"
    direction = "higher" if difference > 0 else "lower"
    return (
        f"{direction} by up to {abs(difference):.3f} (point {row.point}: {row.mean:.3f}{baseline})"
    )
