"""What the comparison with a baseline found, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.core.wording import counted
from kdray.report.page.statistics import LEVEL, UNKNOWN, Compared, Comparison


def apart(against: str, compared: Sequence[Comparison]) -> Iterator[str]:
    """How far the points are from what ``against`` names, in the first metric and the last: an
    objective, and where one was measured a robust accuracy."""
    told = [each for each in compared if any(row.difference is not None for row in each.rows)]
    if not told:
        return
    if all(row.verdict == UNKNOWN for each in told for row in each.rows):
        yield "With so few seeds no difference between points can be told from chance."
        return
    shown = [told[0], *told[1:][-1:]]
    # Said once where it is the same of both.
    sure = [_sure(each) for each in shown]
    sure = sure[-1:] if len(set(sure)) == 1 else sure
    parts = [
        f"{_largest(each)}{said}"
        for each, said in zip(shown, [""] * (len(shown) - len(sure)) + sure, strict=True)
    ]
    yield f"Against {against}: {'; '.join(parts)}."


def _largest(comparison: Comparison) -> str:
    """The largest differences of one metric, up and down."""
    known = [(row.difference, row) for row in comparison.rows if row.difference is not None]
    ends = sorted(
        [max(known, key=lambda each: each[0]), min(known, key=lambda each: each[0])],
        key=lambda each: -abs(each[0]),
    )
    up = [_effect(difference, row) for difference, row in ends if difference > 0][:1]
    down = [_effect(difference, row) for difference, row in ends if difference < 0][:1]
    both = [*up, *down] if ends[0][0] > 0 else [*down, *up]
    return f"{comparison.metric} is {' and '.join(both) or 'the same everywhere'}"


def _sure(comparison: Comparison) -> str:
    """How many of the differences are more than chance explains."""
    level = f"at {100 * LEVEL:g} % after Holm's correction"
    if not any(row.difference for row in comparison.rows):
        return ""
    if not comparison.different:
        return (
            f"; with {comparison.seeds} no difference is significant {level}, more seeds would tell"
        )
    of_all = counted(len(comparison.rows), "difference")
    return (
        f"; {comparison.different} of {of_all} {'is' if comparison.different == 1 else 'are'} "
        f"significant {level}"
    )


def _effect(difference: float, row: Compared) -> str:
    baseline = "" if row.baseline is None else f" against {row.baseline:.3f}"
    towards = "higher" if difference > 0 else "lower"
    return f"{towards} by up to {abs(difference):.3f} (point {row.point}: {row.mean:.3f}{baseline})"
