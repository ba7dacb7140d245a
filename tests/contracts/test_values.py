"""What holds for every member of every union: it is a value, and its canonical JSON says all of
it."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from pydantic import ValidationError

from kdray.core import Value, canonical_json, fingerprint, parse, tag_of
from kdray.data import AnyData
from kdray.methods import AnyMethod
from kdray.models import AnyModel
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise
from kdray.robustness import AnyEvaluation
from kdray.training.optimizers import AnyOptimizer, AnySchedule
from tests.contracts.members import instance, members

UNIONS = {
    "data": AnyData,
    "model": AnyModel,
    "method": AnyMethod,
    "input noise": AnyInputNoise,
    "label noise": AnyLabelNoise,
    "weight noise": AnyWeightNoise,
    "logit noise": AnyLogitNoise,
    "optimizer": AnyOptimizer,
    "schedule": AnySchedule,
    "evaluation": AnyEvaluation,
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
def test_canonical_json_is_read_back_as_the_same_value(union: Any, kind: type[Value]) -> None:
    value = instance(kind)
    read = parse(union, json.loads(canonical_json(value)))
    assert type(read) is kind
    assert read == value
    assert fingerprint(read) == fingerprint(value)


@each_member
def test_frozen_and_hashable(union: Any, kind: type[Value]) -> None:
    value = instance(kind)
    assert hash(value) == hash(instance(kind))
    for name in kind.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, name, getattr(value, name))


@each_member
def test_concrete_and_described(union: Any, kind: type[Value]) -> None:
    assert not inspect.isabstract(kind)
    assert kind.__doc__
    assert tag_of(kind) == kind.model_fields["name"].default


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
