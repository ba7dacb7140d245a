"""``kdray list`` names everything that a sweep file can name, from the types themselves."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from kdray.cli.catalogue import Entry, What, entries
from kdray.core import tag_of, value_types
from kdray.data import AnyData
from kdray.methods import AnyMethod
from kdray.methods.attack import Attack
from kdray.models import AnyModel, Smoothing
from kdray.perturbations import AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise
from kdray.robustness import AnyEvaluation
from kdray.teachers import Supervision, Virtual

UNIONS: dict[What, tuple[Any, ...]] = {
    "models": (AnyModel,),
    "methods": (AnyMethod, Attack, Supervision, Smoothing, Virtual),
    "noise": (AnyInputNoise, AnyLabelNoise, AnyWeightNoise, AnyLogitNoise),
    "datasets": (AnyData,),
    "evaluations": (AnyEvaluation,),
}


def found(what: What) -> dict[str, Entry]:
    return {entry.name: entry for entry in entries(what)}


def test_a_summary_is_whole_sentences() -> None:
    assert [
        entry.name for what in UNIONS for entry in entries(what) if entry.summary[-1] != "."
    ] == []


def test_there_is_a_list_for_every_union() -> None:
    assert set(UNIONS) == set(get_args(What))


@pytest.mark.parametrize("what", UNIONS)
def test_every_member_is_listed_with_its_meaning_its_fields_and_its_paper(what: What) -> None:
    members = [kind for union in UNIONS[what] for kind in value_types(union)]
    listed = list(entries(what))
    assert [
        entry.name for entry in listed if "." not in entry.name and entry.name != "supervision"
    ] == [tag_of(kind) for kind in members if tag_of(kind)]
    for kind, entry in zip(members, listed, strict=True):
        assert entry.summary
        assert "\n" not in "".join([entry.summary, *entry.details])
        details = "\n".join(entry.details)
        for name in set(kind.model_fields) - {"name", "label"}:
            assert f"{name}: " in details


@pytest.mark.parametrize("what", ["methods", "models", "noise", "evaluations"])
def test_everything_but_data_has_a_paper(what: What) -> None:
    for entry in entries(what):
        assert any(line.startswith("paper: ") for line in entry.details), entry.name


def test_noise_says_where_in_the_file_it_goes() -> None:
    assert found("noise")["gaussian"].details[0] == "noise.input: {name: gaussian, …}"
    assert [e.details[0] for e in entries("noise") if e.name == "uniform"] == [
        "noise.input: {name: uniform, …}",
        "noise.labels: {name: uniform, …}",
    ]


def test_fields_are_told_with_type_and_default() -> None:
    assert found("noise")["gaussian"].details[2:] == [
        "clip: true | false = false",
        "sigma: number, required",
    ]
    digits = found("datasets")["digits"].details
    assert "resize: integer = none" in digits
    assert "augment: none | flip | crop | crop_flip = none" in digits
    assert "hidden: list of integer = [128]" in found("models")["mlp"].details
    assert "validation: integer | last_10000 = 5000" in found("datasets")["mnist"].details
