"""A value that breaks a contract is told which one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import ConfigDict, field_validator

from kdray.core import Value
from kdray.testing import VALUE_CONTRACTS
from tests.testing.broken import assert_breaks_only, broken_by


class Sound(Value):
    """A number."""

    name: Literal["sound"] = "sound"
    number: float = 1.0


class Undescribed(Value):
    name: Literal["undescribed"] = "undescribed"


class Creeping(Sound):
    """Becomes more whenever it is read."""

    @field_validator("number")
    @classmethod
    def _more(cls, number: float) -> float:
        return number + 1


class Thawed(Sound):
    """Can be changed."""

    model_config = ConfigDict(frozen=False)

    def __hash__(self) -> int:
        return hash(self.number)


BROKEN: dict[type[Value], tuple[str, str, dict[str, Any]]] = {
    Undescribed: ("is_concrete_and_described", "no docstring", {}),
    Creeping: ("canonical_json_is_read_back_as_the_same_value", "is read as", {"number": 1.75}),
    Thawed: ("is_frozen_and_hashable", "its field name can be set", {}),
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_value_is_told_which_contract(kind: type[Value]) -> None:
    name, found, fields = BROKEN[kind]
    broken = kind(**fields)
    assert_breaks_only(broken_by(broken, VALUE_CONTRACTS), broken, name, found)


def test_a_sound_value_passes() -> None:
    assert broken_by(Sound(number=0.5), VALUE_CONTRACTS) == {}
