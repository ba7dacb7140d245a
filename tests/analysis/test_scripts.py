"""No script averages numbers before it has chosen those of one evaluation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ANALYSIS = Path(__file__).parents[2] / "analysis"
NUMBERS = {"measured", "robustness"}
"""What a snapshot gives of whatever evaluation."""
CHOOSERS = {"of_one_evaluation", "of_one_setting", "_of_one_attack", "attacks", "under_pgd"}
FUNCTIONS = [
    pytest.param(node, id=f"{file.stem}.{node.name}")
    for file in sorted(ANALYSIS.rglob("*.py"))
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.FunctionDef)
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whoever_reads_numbers_chooses_an_evaluation(function: ast.FunctionDef) -> None:
    inside = list(ast.walk(function))
    reads = any(
        isinstance(node, ast.Attribute)
        and node.attr in NUMBERS
        and isinstance(node.value, ast.Name)
        and node.value.id == "snapshot"
        for node in inside
    )
    called = {node.id for node in inside if isinstance(node, ast.Name)}
    assert not reads or called & CHOOSERS
