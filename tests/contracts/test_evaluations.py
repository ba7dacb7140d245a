"""What every evaluation keeps to, on a classifier of real digits."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import pytest
import torch

from kdray.core import InputError, Value, canonical, fingerprint, parse
from kdray.data import MNIST
from kdray.results import TABLES, Results, Store, write_rows
from kdray.results.files.compact import compact
from kdray.robustness import (
    AnyEvaluation,
    Evaluation,
    Measurement,
    OfficialCorruptions,
    Subject,
    measurements,
)
from kdray.robustness.suite import columns_of
from tests.contracts.members import every
from tests.robustness.test_official_corruptions import write_mnist_c
from tests.tensors import digits, trained_on_digits, untrained_on_digits

every_evaluation = every(AnyEvaluation)


@cache
def root() -> Path:
    """A data folder with corrupted digits."""
    place = Path(_FOLDER.name)
    write_mnist_c(place)
    return place


_FOLDER = TemporaryDirectory()


def subject(examples: int = 100) -> Subject:
    split = digits().test.first(examples)
    return Subject(
        trained_on_digits(), split, teacher=untrained_on_digits(), data=MNIST(resize=8), root=root()
    )


def measured(evaluation: Evaluation, examples: int = 100) -> list[Measurement]:
    return measurements(evaluation, subject(examples))


@every_evaluation
def test_yields_the_metrics_that_it_says(value: Evaluation) -> None:
    found = Counter(
        measurement.metric for measurement in measured(value) if measurement.class_ is None
    )
    said = value.metrics()
    assert {metric: found[metric] for metric in said} == said
    assert found.keys() == said.keys() or isinstance(value, OfficialCorruptions), (
        "which has those that its data have"
    )


@every_evaluation
def test_a_share_is_correct_over_examples(value: Evaluation) -> None:
    for accuracy in measured(value):
        if accuracy.correct is None:
            assert not accuracy.metric.endswith("accuracy") or accuracy.metric.endswith(
                "relative_accuracy"
            )
            continue
        assert 0 <= accuracy.correct <= accuracy.examples
        assert accuracy.value == accuracy.correct / accuracy.examples


@every_evaluation
def test_numbers_are_of_the_examples_that_it_was_given(value: Evaluation) -> None:
    for examples in (1, 20):
        assert all(
            (m.examples or 0) % examples == 0 for m in measured(value, examples) if m.class_ is None
        )


@every_evaluation
def test_repeating_it_gives_the_same_bits(value: Evaluation) -> None:
    first = [asdict(measurement) for measurement in measured(value)]
    torch.manual_seed(99)
    assert [asdict(measurement) for measurement in measured(value)] == first


@every_evaluation
def test_two_numbers_of_it_are_told_apart_by_their_columns(value: Evaluation) -> None:
    described = [
        tuple((k, v) for k, v in asdict(m).items() if k not in ("value", "correct"))
        for m in measured(value)
    ]
    assert len(set(described)) == len(described)


@every_evaluation
def test_all_rows_that_it_writes_come_back_before_and_after_compaction(
    value: Evaluation, tmp_path: Path
) -> None:
    """A column that tells its rows apart and is no axis of the schema would lose some."""
    store = Store(tmp_path)
    store.create()
    across = {"source_trial_id": "a"} if value.across else {}
    others = {"a": trained_on_digits, "b": untrained_on_digits}
    found = measurements(value, subject()._replace(others=others))
    rows = [{"trial_id": "a", **columns_of(value), **across, **m.row()} for m in found]
    assert rows
    for file in ("one", "copy"):  # a folder that was merged with itself
        write_rows(store, "robustness", file, rows, {})
    write_rows(store, "robustness", "other", [{**rows[0], "trial_id": "c"}], {})
    written = sorted(map(repr, (row["value"] for row in rows)))
    for _ in ("before", "after"):
        numbers = Results(tmp_path).robustness(where=[("trial_id", "!=", "c")])
        assert sorted(map(repr, numbers["value"].tolist())) == written
        compact(store)
    assert len(store.names("robustness", ".parquet")) == 1


@every_evaluation
def test_the_classifier_the_images_and_the_global_generator_stay_as_they_are(
    value: Evaluation,
) -> None:
    classifier, split = trained_on_digits(), digits().test.first(50)
    images, ambient = split.images.clone(), torch.get_rng_state()
    state = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    measurements(value, subject()._replace(classifier=classifier, split=split))
    assert all(torch.equal(tensor, state[name]) for name, tensor in classifier.state_dict().items())
    assert not any(module.training for module in classifier.modules())
    assert all(
        parameter.grad is None and not parameter.requires_grad
        for parameter in classifier.parameters()
    )
    assert torch.equal(split.images, images)
    assert torch.equal(torch.get_rng_state(), ambient)


@every_evaluation
def test_its_label_is_no_part_of_its_identity_and_everything_else_is(
    kind: type[Value], value: Evaluation
) -> None:
    same = value.model_copy(update={"label": "called-so"})
    assert fingerprint(same) == fingerprint(value)
    on_val = [{"split": "val"}] if "val" in get_args(kind.model_fields["split"].annotation) else []
    for change in (*on_val, {"examples": 50}, {"seed": 1}):
        written = {**canonical(value), **change}
        assert fingerprint(parse(kind, written)) != fingerprint(value)


@every_evaluation
@pytest.mark.parametrize("label", ["", "two words", "a.b", "a[0]"])
def test_a_label_that_would_not_do_in_a_metrics_name_is_refused(
    kind: type[Value], value: Evaluation, label: str
) -> None:
    written = {**canonical(value), "label": label}
    with pytest.raises(InputError, match=r"^label: "):
        parse(kind, written)


@every_evaluation
def test_says_which_paper_measures_it(value: Evaluation) -> None:
    assert value.paper


def test_what_a_measurement_says_are_columns_of_the_robustness_table() -> None:
    assert {field.name.rstrip("_") for field in fields(Measurement)} - {"axes"} <= {
        column.name for column in TABLES["robustness"]
    }
