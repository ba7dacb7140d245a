"""Fields that count how often something is done."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kdray.core import Effort, OneOrMore, Several, Value, efforts, efforts_below


class Attack(Value):
    name: Literal["attack"] = "attack"
    steps: Annotated[OneOrMore[Annotated[int, Field(ge=1)]], Effort(smoke=3)] = 20
    epsilon: float = 0.1


class Nested(Value):
    name: Literal["nested"] = "nested"
    inner: Nested | None = None
    attacks: Several[Annotated[Attack | Nested, Field(discriminator="name")]] = ()
    epochs: Annotated[int, Field(ge=1), Effort(smoke=2, swept=False)] = 100


def test_the_fields_that_are_marked_are_found_with_their_marks() -> None:
    assert efforts(Attack) == {"steps": Effort(smoke=3)}


def test_they_are_found_at_any_depth_also_in_lists_and_in_values_that_hold_themselves() -> None:
    expected = {"epochs": Effort(smoke=2, swept=False), "steps": Effort(smoke=3)}
    assert efforts_below(Nested) == expected
    assert efforts_below(Nested | None, int) == expected


def test_a_mark_changes_no_value_and_no_schema() -> None:
    assert Attack(steps=(1, 2)).steps == (1, 2)
    assert Nested.model_json_schema()["$defs"]["Nested"]["properties"]["epochs"] == {
        "default": 100,
        "minimum": 1,
        "title": "Epochs",
        "type": "integer",
    }
