"""What changes speed changes numbers by rounding only, and what changes numbers is part of the
experiment."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from kdray.core import canonical, parse
from kdray.data import to_unit
from kdray.methods.fitnet import hint_loss
from kdray.models import normalizer
from kdray.results import Results, Store
from kdray.robustness import score
from kdray.sweep.definition.file import Request
from kdray.teachers import load_classifier
from kdray.training import State, train
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions, Precision, computing_in
from kdray.trials.experiment import Experiment
from kdray.trials.grant import Grant
from kdray.trials.run import run_task
from kdray.trials.task import Task
from tests.small_trials import (
    CPU,
    NOWHERE,
    assert_same_bits,
    description,
    digits,
    distillation,
    experiment,
    fresh,
    setup,
    store_in,
    stored,
)

WIDE = {"name": "wide_resnet", "depth": 10, "width": 1}
METHODS: tuple[dict[str, Any], ...] = (
    {"name": "kd"},
    {"name": "margin"},
    {"name": "gradient_matching"},
    {"name": "robust_student"},
    {"name": "fitnet", "hint_epochs": 1},
    {"name": "adversarial", "clean": {"name": "kd"}, "attack": {"steps": 2}},
)


def run(
    described: Experiment,
    store: Store,
    *,
    kernels: ComputeOptions = DEFAULT_COMPUTE,
    epochs: int | None = None,
) -> None:
    """The trial, or so many epochs of it."""
    task = parse(Task, {"role": "student", "experiment": canonical(described)})
    steps = run_task(task, store=store, data_root=NOWHERE, device=CPU, grant=Grant(compute=kernels))
    *_, last = islice(steps, epochs)
    steps.close()
    assert epochs is not None or last.text == "completed", last.summary


def trained(described: Experiment, store: Store, **how: Any) -> dict[str, pd.DataFrame]:
    """What the tables say of it."""
    run(described, store, **how)
    return stored(store, described.trial_id)


def student(**fields: Any) -> Experiment:
    given = {
        "model": WIDE,
        "teacher": description(model=WIDE, training={"epochs": 1, "batch_size": 50}),
        **fields,
    }
    return distillation(**given)


def taught(folder: Path) -> Store:
    """With a trained teacher."""
    store = store_in(folder)
    teacher = student().teacher
    assert teacher is not None
    run(teacher, store)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return taught(tmp_path / "results")


@pytest.fixture
def other(tmp_path: Path) -> Store:
    """Results in which the same trial is done in another way."""
    return taught(tmp_path / "other")


# Precision


def in_bfloat16(**fields: Any) -> Experiment:
    return student(
        **{"training": {"epochs": 2, "batch_size": 50, "precision": "bfloat16"}, **fields}
    )


def test_precision_is_part_of_the_experiment_and_float32_is_what_was_always_meant() -> None:
    plain = student(training={"epochs": 2, "batch_size": 50})
    assert (
        student(training={"epochs": 2, "batch_size": 50, "precision": "float32"}).trial_id
        == plain.trial_id
    )
    assert in_bfloat16().trial_id != plain.trial_id


def test_operands_have_16_bits_and_losses_32() -> None:
    matrix = torch.full((3, 3), 1 + 2**-9)
    with computing_in("bfloat16", CPU):
        assert (matrix @ matrix).dtype == torch.bfloat16
        assert (
            torch.nn.functional.cross_entropy((matrix @ matrix), torch.tensor([0, 1, 2])).dtype
            == torch.float32
        )
    with computing_in("float32", CPU):
        assert (matrix @ matrix).dtype == torch.float32


def test_a_hint_of_16_bits_is_regressed_in_32() -> None:
    maps = torch.rand(2, 3, 4, 4, 4)
    found = hint_loss(maps[0].bfloat16(), maps[1].bfloat16(), "mean")
    assert torch.equal(
        found, hint_loss(maps[0].bfloat16().float(), maps[1].bfloat16().float(), "mean")
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["name"])
def test_every_method_learns_in_16_bits_what_it_learns_in_32_but_for_rounding(
    method: dict[str, Any], store: Store
) -> None:
    short, plain = (
        in_bfloat16(method=method),
        student(method=method, training={"epochs": 2, "batch_size": 50}),
    )
    losses = [trained(described, store)["epochs"]["loss"] for described in (short, plain)]
    assert not losses[0].equals(losses[1])
    pd.testing.assert_series_equal(losses[0], losses[1], rtol=0.05)


def test_weights_are_kept_and_measured_in_32_bits(store: Store) -> None:
    described = in_bfloat16()
    row = trained(described, store)["trials"].iloc[0]
    packed = store.read(f"weights/{described.trial_id}.safetensors")
    classifier = load_classifier(
        described.model, described.data, normalizer(described.data, {}), packed, CPU
    )
    assert {tensor.dtype for tensor in classifier.parameters()} == {torch.float32}
    val = digits(described).val
    assert row["val_accuracy"] == score(classifier, val)[0] / len(val.labels)
    assert classifier.logits(to_unit(val.images[:3])).dtype == torch.float32


def test_a_training_in_16_bits_goes_on_bit_by_bit(store: Store, other: Store) -> None:
    described = in_bfloat16(method={"name": "robust_student"})
    whole = trained(described, store)
    run(described, other, epochs=1)
    assert_same_bits(whole, trained(described, other))


# Kernels


def near(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    """Rounding apart, and nothing more: two steps, so that it has no time to grow."""
    for column in ("loss", "val_loss"):
        pd.testing.assert_series_equal(one["epochs"][column], other["epochs"][column], rtol=1e-3)


def told(store: Store, described: Experiment) -> tuple[bool, bool]:
    row = Results(store.location).trials().set_index("trial_id").loc[described.trial_id]
    return bool(row["channels_last"]), bool(row["compiled"])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["name"])
def test_the_layout_of_images_changes_numbers_by_rounding_only(
    method: dict[str, Any], store: Store, other: Store
) -> None:
    described = student(method=method, training={"epochs": 1, "batch_size": 90})
    plain = trained(described, store, kernels=ComputeOptions(channels_last=False))
    assert told(store, described) == (False, False)
    near(plain, trained(described, other, kernels=ComputeOptions(channels_last=True)))
    assert told(other, described) == (True, False)


def test_a_training_with_another_layout_goes_on_bit_by_bit(store: Store, other: Store) -> None:
    described, kernels = (
        student(training={"epochs": 3, "batch_size": 50}),
        ComputeOptions(channels_last=False),
    )
    whole = trained(described, store, kernels=kernels)
    run(described, other, kernels=kernels, epochs=1)
    assert_same_bits(whole, trained(described, other, kernels=kernels))


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*is deprecated:DeprecationWarning"
)  # torch's own
def test_compiled_kernels_change_numbers_by_rounding_only_and_draw_the_same(
    store: Store, other: Store
) -> None:
    fields = {
        "model": {"name": "mlp", "hidden": [16], "dropout": 0.4},
        "training": {"epochs": 1, "batch_size": 90},
    }
    described = student(**fields)
    plain = trained(described, store)
    near(plain, trained(described, other, kernels=ComputeOptions(compile=True)))
    assert told(other, described) == (True, True)


def test_what_is_differentiated_twice_is_not_compiled(store: Store, other: Store) -> None:
    described = student(method={"name": "robust_student"}, training={"epochs": 1, "batch_size": 60})
    plain = trained(described, store)
    assert_same_bits(plain, trained(described, other, kernels=ComputeOptions(compile=True)))
    assert told(other, described) == (True, False)


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [
        (CPU, "float32", True),
        (torch.device("cuda"), "float32", False),
        (torch.device("cuda"), "tf32", False),
        (torch.device("cuda"), "bfloat16", True),
    ],
)
def test_channels_are_last_where_it_is_faster_unless_told(
    device: torch.device, precision: Precision, *, expected: bool
) -> None:
    assert DEFAULT_COMPUTE.lays_channels_last(device, precision) == expected
    for chosen in (True, False):
        kernels = ComputeOptions(channels_last=chosen)
        assert kernels.lays_channels_last(device, precision) == chosen


def test_kernels_are_asked_for_beside_the_cpus() -> None:
    request = parse(Request, {"cpu": 2, "kernels": {"channels_last": True}})
    assert request.kernels == ComputeOptions(channels_last=True)
    assert Request().kernels == DEFAULT_COMPUTE


def test_operands_are_rounded_to_tf32_only_where_that_is_asked_for_and_only_in_training() -> None:
    switches = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [switch.allow_tf32 for switch in switches]
    for precision in ("float32", "tf32", "bfloat16"):
        described = experiment(training={"epochs": 1, "batch_size": 50, "precision": precision})
        state = fresh(described)
        seen: dict[bool, set[bool]] = {True: set(), False: set()}

        def note(*_: Any, state: State = state, seen: dict[bool, set[bool]] = seen) -> None:
            if state.classifier.training:
                seen[True] |= {switch.allow_tf32 for switch in switches}
            else:
                seen[False].add([switch.allow_tf32 for switch in switches] != before)

        state.classifier.network.register_forward_hook(note)
        for parameter in state.classifier.parameters():
            parameter.register_hook(note)
        list(train(state, setup(described)))
        assert seen == {True: {precision == "tf32"}, False: {False}}
    assert [switch.allow_tf32 for switch in switches] == before
