"""The numbers that the paper prints, and the command that measures what a sweep leaves out."""

from __future__ import annotations

import pandas as pd

from kdray.report import published
from kdray.report.papers.published_table import printed

TITLE = "Noisy Collaboration"
PRINTED = published("noisy_collaboration")
ATTACKS = {"section 4.3": "PGD accuracy", "section 4.4": "PGD-20 accuracy"}
"""What the text calls the accuracy under attack, by section."""
EVALUATE = "kdray evaluate RESULTS --suite sweeps/suites/noisy_collaboration.yaml"


def printed_number(section: str, row: str) -> float:
    """An accuracy under PGD from the paper's text, in percent."""
    return printed(PRINTED, f"text, {section}", row, ATTACKS[section])


def printed_heat_map() -> pd.DataFrame | None:
    """Figure 5 as printed: fractions, a row for each σ."""
    numbers = PRINTED[PRINTED["item"].eq("Figure 5")]
    if numbers.empty:
        return None
    values = numbers.assign(
        row=numbers["row"].str.removeprefix("sigma="), value=numbers["value"].astype(float) / 100
    )
    return values.pivot(index="row", columns="column", values="value").loc[values["row"].unique()]
