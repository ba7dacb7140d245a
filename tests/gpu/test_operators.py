"""The lists of operators are those of this torch."""

from __future__ import annotations

import re

import torch

from tests.gpu import operators


def test_torch_documents_no_raising_operator_that_was_not_looked_at() -> None:
    """Who updates torch looks at what is new: at its kernels for CUDA, which call
    alertNotDeterministic if it raises there; then it is named in ``DOCUMENTED``, and its operators,
    if they raise, in ``RAISING``."""
    text = torch.use_deterministic_algorithms.__doc__ or ""
    _, found, rest = text.partition("operations will throw a\n")
    listed, ended, _ = rest.partition("In addition")
    assert found
    assert ended
    names = re.findall(r"\* :(?:class|func):`~?([\w.]+)`", listed)
    assert len(names) > 20
    assert {name.rpartition(".")[2] for name in names} <= operators.DOCUMENTED


def test_every_listed_operator_is_one_of_torch() -> None:
    """One that a later torch calls otherwise would never be noticed."""
    for listed in (
        operators.RAISING,
        operators.WAITING,
        operators.INDEXING,
        operators.COPYING,
        operators.DRAWING,
        operators.LAUNCHING_NOTHING,
    ):
        assert {name for name in listed if not hasattr(torch.ops.aten, name)} == set()
