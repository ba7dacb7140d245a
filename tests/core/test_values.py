from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError

from kdray.core import (
    InputError,
    Several,
    Value,
    canonical,
    canonical_json,
    explain,
    fingerprint,
    leaf_types,
    leaves,
    parse,
    tag_of,
    value_types,
)
from kdray.data import AnyData, Digits
from kdray.methods import KD
from kdray.models import MLP, AnyModel
from kdray.perturbations import AnyInputNoise
from kdray.robustness import PGD, AnyEvaluation
from kdray.training.optimizers import SGD, Adam, AnyOptimizer
from kdray.trials.experiment import Experiment, configuration, configuration_columns
from kdray.trials.task import Task
from tests.small_trials import description, distillation, experiment


class Small(Value):
    name: Literal["small"] = "small"
    size: Annotated[int, Field(ge=1)] = 1


class Large(Value):
    name: Literal["large"] = "large"
    size: float = 1.0
    weights: Several[float] = ()


class Renewed(Small):
    """A component whose numbers changed."""

    version: ClassVar[int] = 2


class Box(Value):
    content: Annotated[Small | Large, Field(discriminator="name")] = Small()
    inner: Box | None = None
    lid: bool = False


# Identity


def test_canonical_json_is_sorted_compact_and_without_defaults() -> None:
    assert canonical_json(KD(temperature=2.0)) == '{"name":"kd","temperature":2.0}'
    assert canonical_json(experiment()) == (
        '{"data":{"examples":300,"name":"digits"},"model":{"hidden":[16],"name":"mlp"},'
        '"training":{"batch_size":50,"epochs":3}}'
    )


def test_a_members_name_stays_although_it_is_its_default() -> None:
    assert canonical(SGD()) == {"name": "sgd"}
    assert fingerprint(SGD(learning_rate=0.001)) != fingerprint(Adam(learning_rate=0.001))


def test_what_is_written_out_at_its_default_changes_no_identity() -> None:
    spelled = description(
        seed=0,
        teacher=None,
        noise={"input": None},
        method={"name": "cross_entropy"},
        training={
            "epochs": 3,
            "batch_size": 50,
            "keep": "last",
            "schedule": {"name": "constant"},
            "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1, "nesterov": False},
        },
    )
    assert Experiment.parse(spelled) == experiment()
    assert Experiment.parse(spelled).trial_id == experiment().trial_id


@pytest.mark.parametrize("whole", [2, 2.0])
def test_an_integer_in_a_float_field_is_that_float(whole: float) -> None:
    parsed = parse(AnyOptimizer, {"name": "sgd", "learning_rate": whole})
    assert canonical_json(parsed) == '{"learning_rate":2.0,"name":"sgd"}'
    assert canonical_json(SGD(learning_rate=whole)) == canonical_json(parsed)


def test_minus_zero_is_zero() -> None:
    assert fingerprint(KD(alpha=-0.0)) == fingerprint(KD(alpha=0.0))
    assert fingerprint(Large(size=-0.0, weights=(-0.0,))) == fingerprint(
        Large(size=0.0, weights=(0.0,))
    )


def test_a_fingerprint_is_16_hexadecimal_digits_of_the_sha256_of_the_canonical_json() -> None:
    # Of '{"name":"kd"}', by coreutils' sha256sum.
    assert canonical_json(KD()) == '{"name":"kd"}'
    assert fingerprint(KD()) == "9cc98a14ded97a5d"


@pytest.mark.parametrize(
    "value",
    [
        experiment(seed=3),
        distillation(
            noise={
                "input": {"name": "gaussian", "sigma": 0.2},
                "labels": {"name": "uniform", "rate": 0.5},
            }
        ),
        experiment(
            training={"epochs": 9, "schedule": {"name": "multi_step", "milestones": [3, 6]}}
        ),
        experiment(
            data={
                "name": "cifar10",
                "validation": "last_10000",
                "augment": "crop_flip",
                "channels": 1,
            }
        ),
        experiment(model={"name": "mlp", "hidden": []}),
    ],
)
def test_canonical_json_parses_to_the_same_value(value: Experiment) -> None:
    back = Experiment.parse(json.loads(canonical_json(value)))
    assert back == value
    assert canonical_json(back) == canonical_json(value)


def test_a_label_is_no_part_of_an_evaluations_identity() -> None:
    assert PGD(label="pgd20") != PGD(label="strong")
    assert fingerprint(PGD(label="pgd20")) == fingerprint(PGD())
    assert "label" not in canonical(PGD(label="pgd20"))


def test_every_other_field_of_an_evaluation_is_part_of_its_identity() -> None:
    changed = [
        PGD(),
        PGD(split="val"),
        PGD(examples=9),
        PGD(seed=1),
        PGD(norm="l2"),
        PGD(epsilon=0.1),
        PGD(step_size=0.1),
        PGD(steps=1),
        PGD(restarts=2),
    ]
    assert len({fingerprint(value) for value in changed}) == len(changed)


def test_canonical_json_is_what_json_makes_of_the_same_leaves() -> None:
    value = Box(
        content=Large(size=1e-7, weights=(-0.0, 2.5)), inner=Box(content=Small(size=3)), lid=True
    )
    tree = {
        "content": {"name": "large", "size": 1e-7, "weights": [0.0, 2.5]},
        "inner": {"content": {"name": "small", "size": 3}},
        "lid": True,
    }
    assert canonical_json(value) == json.dumps(tree, sort_keys=True, separators=(",", ":"))
    assert canonical(value) == tree


def test_a_copy_with_changes_has_an_identity_of_its_own() -> None:
    inner = Box(content=Small(size=3))
    before = Box(inner=inner, lid=True)
    known = fingerprint(before)
    changed = before.model_copy(update={"inner": inner.model_copy(update={"lid": True})})
    assert (
        fingerprint(changed)
        == fingerprint(Box(inner=Box(content=Small(size=3), lid=True), lid=True))
        != known
    )
    fresh = Box(inner=Box(content=Small(size=3)), lid=True)
    for same in (before, before.model_copy(), copy.deepcopy(before)):
        assert (same, hash(same), same.model_dump()) == (fresh, hash(fresh), fresh.model_dump())
        assert fingerprint(same) == known


def test_a_raised_version_is_another_identity_that_round_trips() -> None:
    assert canonical(Renewed(size=4)) == {"version": 2, "name": "small", "size": 4}
    assert fingerprint(Renewed(size=4)) != fingerprint(Small(size=4))
    assert parse(Renewed, canonical(Renewed(size=4))) == Renewed(size=4)


def test_a_text_without_a_version_means_the_present_one() -> None:
    assert parse(Renewed, {"name": "small", "size": 4}) == Renewed(size=4)


def test_the_text_of_another_version_is_refused() -> None:
    for kind, version in ((Renewed, 1), (Renewed, 3), (Small, 1), (Small, 2)):
        with pytest.raises(InputError, match="version: unknown key"):
            parse(kind, {"name": "small", "version": version})


def test_a_raised_version_shows_in_whatever_holds_the_component_even_at_a_default() -> None:
    class Holder(Value):
        content: Renewed = Renewed()
        several: Several[Renewed] = ()

    class Outer(Value):
        holder: Holder = Holder()
        plain: Small = Small()

    assert canonical(Holder()) == {"content": {"version": 2, "name": "small"}}
    assert canonical(Outer()) == {"holder": canonical(Holder())}
    assert parse(Outer, canonical(Outer())) == Outer()


# Validation


def test_values_are_frozen_and_hashable() -> None:
    assert hash(MLP(hidden=(3, 4))) == hash(MLP(hidden=(3, 4)))
    with pytest.raises(ValidationError, match="frozen"):
        MLP().dropout = 0.1  # type: ignore[misc]


def test_a_tuple_may_be_written_as_a_list_but_its_items_stay_strict() -> None:
    assert (
        parse(MLP, {"name": "mlp", "hidden": [3, 4]}).hidden == (3, 4) == MLP(hidden=[3, 4]).hidden
    )  # type: ignore[arg-type]
    for item in ("3", 3.0, True, None):
        with pytest.raises(
            InputError, match=r"^hidden\[1\]: input should be a valid integer, not "
        ):
            parse(MLP, {"name": "mlp", "hidden": [3, item]})


def wrong(**fields: Any) -> Any:
    return (Experiment, description(**fields))


def task(*evaluations: object) -> Any:
    return (
        Task,
        {"role": "student", "experiment": description(), "evaluations": list(evaluations)},
    )


def names(union: Any) -> str:
    """The members of a union, as a message lists them."""
    return ", ".join(str(tag_of(kind)) for kind in value_types(union))


MESSAGES = {
    "unknown key near a valid one": (
        wrong(data={"name": "digits", "resiz": 8}),
        "data.resiz: unknown key, did you mean 'resize'? "
        f"(allowed: {', '.join(sorted(Digits.model_fields))})",
    ),
    "unknown key near none": (
        wrong(noise={"qqq": 1}),
        "noise.qqq: unknown key (allowed: input, labels, teacher_sees)",
    ),
    "unknown key in a teacher": (
        wrong(teacher=description(model={"name": "mlp", "dropot": 0.1}), method={"name": "kd"}),
        "teacher.model.dropot: unknown key, did you mean 'dropout'? (allowed: dropout, "
        "hidden, input_sigma, name)",
    ),
    "unknown key in a list": (
        task({"name": "clean"}, {"name": "clean", "see": 1}),
        "evaluations[1].see: unknown key, did you mean 'seed'? (allowed: examples, label, "
        "name, seed, smoothing, split)",
    ),
    "unknown name near a valid one": (
        wrong(data={"name": "digit"}),
        f"data: unknown name 'digit', did you mean 'digits'? (allowed: {names(AnyData)})",
    ),
    "unknown name near none": (
        wrong(model={"name": "transformer"}),
        f"model: unknown name 'transformer' (allowed: {names(AnyModel)})",
    ),
    "name missing in a union": (
        wrong(model={"hidden": [8]}),
        f"model: needs a 'name' (allowed: {names(AnyModel)})",
    ),
    "name missing in a union of one": (
        wrong(noise={"input": {"sigma": 0.1}}),
        f"noise.input: needs a 'name' (allowed: {names(AnyInputNoise)})",
    ),
    "field missing": (
        wrong(noise={"input": {"name": "gaussian"}}),
        "noise.input.sigma: is required",
    ),
    "part missing": (
        (Experiment, {"data": {"name": "digits"}, "model": {"name": "mlp"}}),
        "training: is required",
    ),
    "text for a number": (
        wrong(training={"epochs": "3"}),
        'training.epochs: input should be a valid integer, not "3"',
    ),
    "fraction for an integer": (
        wrong(training={"epochs": 1.5}),
        "training.epochs: input should be a valid integer, not 1.5",
    ),
    "truth value for a number": (
        wrong(noise={"input": {"name": "gaussian", "sigma": True}}),
        "noise.input.sigma: input should be a valid number, not true",
    ),
    "not a finite number": (
        wrong(noise={"input": {"name": "gaussian", "sigma": float("nan")}}),
        "noise.input.sigma: input should be a finite number, not NaN",
    ),
    "text for a part": (wrong(data="digits"), 'data: input should be an object, not "digits"'),
    "out of range": (
        wrong(training={"epochs": 3, "optimizer": {"name": "sgd", "momentum": 1}}),
        "training.optimizer.momentum: input should be less than 1, not 1",
    ),
    "out of range in a list": (
        wrong(model={"name": "mlp", "hidden": [8, 0]}),
        "model.hidden[1]: input should be greater than or equal to 1, not 0",
    ),
    "out of range in a list of a list": (
        task({"name": "gaussian_noise", "sigmas": [0.1, -1]}),
        "evaluations[0].sigmas[1]: input should be greater than or equal to 0, not -1",
    ),
    "out of range beside a word": (
        wrong(data={"name": "cifar10", "validation": 0}),
        "data.validation: input should be greater than or equal to 1 or 'last_10000', not 0",
    ),
    "none of the words": (
        wrong(training={"epochs": 3, "keep": "best"}),
        "training.keep: input should be 'last' or 'best_validation' or an object, not \"best\"",
    ),
    "none of the words, a mapping": (
        wrong(training={"epochs": 3, "keep": {"best": 3}}),
        "training.keep.best: input should be a valid string, not 3",
    ),
    "a rule of the component": (
        wrong(model={"name": "wide_resnet", "depth": 12}),
        "model: depth 12 is not 6·n + 4 (allowed: 10, 16, 22, 28, 34, 40, …)",
    ),
    "a rule of the whole": (
        wrong(method={"name": "kd"}),
        "method kd needs a teacher, and there is none",
    ),
}


@pytest.mark.parametrize(("written", "message"), MESSAGES.values(), ids=list(MESSAGES))
def test_what_is_wrong_is_said_in_one_line(written: tuple[Any, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        parse(*written)
    assert str(raised.value) == message


def test_a_message_starts_with_the_place_that_the_caller_names() -> None:
    with pytest.raises(
        InputError, match=r"^experiment\.model\.depth: input should be a valid integer, not "
    ):
        Experiment.parse(
            description(model={"name": "wide_resnet", "depth": None}), where="experiment"
        )
    with pytest.raises(InputError, match=r"^experiment: method kd needs a teacher"):
        Experiment.parse(description(method={"name": "kd"}), where="experiment")


def test_only_the_first_of_several_problems_is_told() -> None:
    with pytest.raises(ValidationError) as raised:
        MLP.model_validate_json('{"name": "mlp", "dropout": 2, "hiden": [1]}')
    assert len(raised.value.errors()) == 2
    assert explain(raised.value, MLP) == "dropout: input should be less than 1, not 2"


def test_a_number_or_a_word_names_the_word_too() -> None:
    with pytest.raises(InputError, match=r"^data\.validation: .*last_10000"):
        Experiment.parse(description(data={"name": "cifar10", "validation": "last_100"}))


def test_a_missing_name_lists_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"^model: needs a 'name' \(allowed: mlp, cnn, .*\)$"):
        Experiment.parse(description(model={"hidden": [8]}))


# Types and leaves


def test_the_members_of_a_union_are_its_value_types() -> None:
    assert list(value_types(Annotated[Small | Large | None, "note"])) == [Small, Large]
    assert list(value_types(Small | None)) == [Small]
    assert list(value_types(int | Literal["last"])) == []
    assert [tag_of(kind) for kind in value_types(AnyEvaluation)][:1] == ["clean"]
    assert tag_of(Box) is None


def test_leaf_types_join_union_members_and_follow_a_type_in_itself_once() -> None:
    assert leaf_types(Box) == {
        "content.name": str,
        "content.size": float,  # int of one member and float of the other
        "content.weights": str,  # JSON
        "inner.content.name": str,
        "inner.content.size": float,
        "inner.content.weights": str,
        "inner.inner": str,  # JSON
        "inner.lid": bool,
        "lid": bool,
    }


def test_leaf_types_carry_a_prefix() -> None:
    assert leaf_types(Small, "a.b") == {"a.b.name": str, "a.b.size": int}


def test_fields_that_differ_in_more_than_int_and_float_are_text() -> None:
    class Word(Value):
        name: Literal["word"] = "word"
        size: Literal["s", "m"] = "s"

    assert leaf_types(Annotated[Small | Large | Word, Field(discriminator="name")])["size"] is str
    assert leaf_types(Annotated[Word | Small | Large, Field(discriminator="name")])["size"] is str


def test_leaves_have_the_declared_type() -> None:
    found = leaves(Box(content=Small(size=3)), leaf_types(Box))
    assert found == {"content.name": "small", "content.size": 3.0, "lid": False}
    assert type(found["content.size"]) is float
    assert type(found["lid"]) is bool


def test_leaves_without_a_type_of_their_own_are_json() -> None:
    deep = Box(content=Large(weights=(0.5, -0.0)), inner=Box(inner=Box(content=Small(size=2))))
    found = leaves(deep, leaf_types(Box))
    assert found["content.weights"] == "[0.5, 0.0]"
    assert json.loads(found["inner.inner"]) == {"content": {"name": "small", "size": 2}}


def test_a_teacher_is_in_columns_one_level_deep_and_json_below() -> None:
    columns = configuration_columns()
    assert columns["teacher.model.dropout"] is float
    assert columns["teacher.teacher"] is str
    assert not any(path.startswith("teacher.teacher.") for path in columns)
    assert "seed" not in columns  # a column of its own

    grand = distillation(teacher=canonical(distillation(seed=1)))
    found = configuration(grand)
    assert found["teacher.method.name"] == "kd"
    assert found["teacher.seed"] == 1
    assert grand.teacher is not None
    assert json.loads(found["teacher.teacher"]) == canonical(grand.teacher.teacher)  # type: ignore[arg-type]


def test_a_field_that_is_an_integer_or_a_word_is_text() -> None:
    for validation, text in ((5000, "5000"), ("last_10000", "last_10000")):
        assert (
            configuration(experiment(data={"name": "mnist", "validation": validation}))[
                "data.validation"
            ]
            == text
        )


def test_a_field_that_is_a_word_or_a_value_has_a_column_of_each() -> None:
    suite = [{"name": "clean", "split": "val"}]
    training = {"epochs": 3, "monitor": {"suite": suite}}
    for keep, path, leaf in (
        ("last", "training.keep", "last"),
        ({"best": "clean.accuracy"}, "training.keep.best", "clean[1].accuracy"),
    ):
        found = configuration(experiment(training={**training, "keep": keep}))
        assert {name: each for name, each in found.items() if "keep" in name} == {path: leaf}


def test_a_choice_of_integers_is_an_integer_column() -> None:
    assert configuration_columns()["data.channels"] is int


def test_what_a_value_lacks_is_left_out_of_its_leaves() -> None:
    found = configuration(experiment())
    assert not any(path.startswith(("teacher.", "noise.input", "noise.labels")) for path in found)
    assert found["training.optimizer.momentum"] == 0.9  # defaults are written out
    assert found["model.hidden"] == "[16]"
    assert found.keys() <= configuration_columns().keys()


class Versioned(Value):
    """With a field whose meaning changed."""

    field_versions: ClassVar[Mapping[str, int]] = {"part": 2}
    part: int | None = None
    other: int = 0


def test_a_field_whose_meaning_changed_is_another_identity_only_where_it_is_used() -> None:
    assert canonical_json(Versioned(other=1)) == '{"other":1}'
    assert canonical_json(Versioned(part=3)) == '{"part":3,"part.version":2}'


def test_canonical_json_with_the_version_of_a_field_is_read_back() -> None:
    value = Versioned(part=3, other=2)
    assert parse(Versioned, json.loads(canonical_json(value))) == value
    with pytest.raises(InputError, match=r"part\.version: unknown key"):
        parse(Versioned, {"part": 3, "part.version": 3})
