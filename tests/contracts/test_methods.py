"""Every method keeps to the contracts of a method."""

from __future__ import annotations

import pytest

from kdray.methods import AnyMethod, Method
from kdray.testing import METHOD_CONTRACTS, Contract, hold
from kdray.testing.steps import batch, certain, student_of
from tests.contracts.members import each, every


@every(AnyMethod)
@each(METHOD_CONTRACTS)
def test_method(value: Method, contract: Contract) -> None:
    hold(contract, value)


@every(AnyMethod)
def test_says_where_its_loss_is_written_down(value: Method) -> None:
    assert value.paper


@every(AnyMethod)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_logits_of_a_certain_network_are_saturated(value: Method, sign: int) -> None:
    assert certain(student_of(value), sign).logits(batch().images).abs().max() > 1e4
