"""What holds for every member of every union: it is a value, and its canonical JSON says all of
it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kdray.core import Value, canonical_json, parse, tag_of
from kdray.data import AnyData
from kdray.methods import AnyMethod
from kdray.models import AnyModel
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.samplers import AnySampler
from kdray.testing import VALUE_CONTRACTS, Contract, hold
from kdray.training.averaging import AnyAverage
from kdray.training.optimizers import AnyOptimizer, AnySchedule
from tests.contracts.members import each, instance, members

UNIONS = {
    "data": AnyData,
    "model": AnyModel,
    "method": AnyMethod,
    "input noise": AnyInputNoise,
    "label noise": AnyLabelNoise,
    "weight noise": AnyWeightNoise,
    "logit noise": AnyLogitNoise,
    "average": AnyAverage,
    "optimizer": AnyOptimizer,
    "schedule": AnySchedule,
    "evaluation": AnyEvaluation,
    "sampler": AnySampler,
}
each_member = pytest.mark.parametrize(
    ("union", "kind"),
    [
        pytest.param(union, kind, id=f"{what}-{tag_of(kind)}")
        for what, union in UNIONS.items()
        for kind in members(union)
    ],
)


@each_member
@each(VALUE_CONTRACTS)
def test_value(union: Any, value: Value, contract: Contract) -> None:
    del union
    hold(contract, value)


@each_member
def test_its_union_reads_it_back(union: Any, kind: type[Value], value: Value) -> None:
    read = parse(union, json.loads(canonical_json(value)))
    assert type(read) is kind
    assert read == value


@pytest.mark.parametrize("union", UNIONS.values(), ids=UNIONS)
def test_every_member_has_a_name_of_its_own(union: Any) -> None:
    names = [tag_of(kind) for kind in members(union)]
    assert len(set(names)) == len(names)


def test_a_member_without_an_instance_here_fails_with_what_to_do() -> None:
    class Demanding(Value):
        strength: float

    said = r"Demanding has no default for strength: add an entry to FIELDS in .*members\.py"
    with pytest.raises(pytest.fail.Exception, match=said):
        instance(Demanding)
