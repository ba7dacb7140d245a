"""The numbers of the paper's text beside ours."""

from __future__ import annotations

import pandas as pd

from kdray.report import (
    Snapshot,
    Spread,
    Table,
    attack_text,
    caption,
    of_one_point,
    only,
    under_pgd,
)
from papers.noisy_collaboration.printed import EVALUATE, TITLE, printed_number
from papers.noisy_collaboration.studies import label_corruption, soft_randomization


def numbers_of_the_text(snapshot: Snapshot) -> Table:
    """Numbers that the text gives, and ours."""
    soft, wrong = soft_randomization(snapshot), label_corruption(snapshot)
    asked = (
        (
            "4.3",
            "sigma=0.05, soft randomization",
            "Soft Randomization, σ 0.05",
            soft,
            "soft_randomization",
            0.05,
        ),
        (
            "4.3",
            "sigma=0.05, student trained alone",
            "noise without a teacher, σ 0.05",
            soft,
            "no_teacher",
            0.05,
        ),
        ("4.4", "teacher, rate=0", "teacher, clean labels", wrong, "teacher", 0.0),
        ("4.4", "teacher, rate=0.05", "teacher, 5 % wrong labels", wrong, "teacher", 5.0),
    )
    groups = [study.of(group).trials.assign(asked=row) for _, row, _, study, group, _ in asked]
    attacked = only(
        under_pgd(snapshot, pd.concat(groups, ignore_index=True)),
        f"nothing was attacked with PGD: {EVALUATE}",
    )
    rows, used = [], []
    for section, row, words, _, _, x in asked:
        at = attacked[attacked["asked"].eq(row) & attacked["x"].eq(x)]
        of_one_point(at, [], words)
        ours = Spread.of(at["value"], 100) if len(at) else None
        rows.append(
            {
                "model": words,
                "published (%)": printed_number(f"section {section}", row),
                "ours (%)": ours,
            }
        )
        used.append(at)
    everything = only(pd.concat(used), f"nothing was attacked with PGD: {EVALUATE}")
    what = (
        "Accuracy under attack, as the text gives it for CIFAR-10 without its ε, and ours "
        f"({attack_text(everything)})"
    )
    return Table(
        "numbers_of_the_text",
        "Accuracy under attack: the text's numbers and ours",
        caption(
            what, everything, ["group", "x"], source=f"{TITLE}, sections 4.3 and 4.4", band="±"
        ),
        pd.DataFrame(rows),
    )
