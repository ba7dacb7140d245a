"""Every model, with every normalisation and noise, answers the same from every file."""

from __future__ import annotations

import json
import sys
import zipfile
from itertools import product
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from kdray.core import InputError, seeds
from kdray.exporting import FORMATS, TOLERANCE, NoiseMode, TrainedModel
from kdray.exporting.agreement import BATCH, largest_difference, random_images
from kdray.exporting.formats import OPSET, require_packages
from kdray.exporting.trained import draws, without_noise
from kdray.models import AnyModel, Model
from kdray.perturbations import AnyWeightNoise
from tests.contracts.members import MISSING, instance, members
from tests.small_trials import experiment, untrained

NORMALIZATIONS = ("none", "standardize", "gcn", "gcn_zca")
COSTLY = {("onnx", "none"), ("onnx", "standardize")}
"""Seconds each; the families have the second, and the first is nothing."""


def plain(kind: type[Model]) -> dict[str, Any]:
    """The smallest network of a family, with dropout where it can have some."""
    fields: dict[str, Any] = {**json.loads(instance(kind).model_dump_json()), **kind.small}
    return fields | {"dropout": 0.5} if "dropout" in kind.model_fields else fields


def model(fields: dict[str, Any], noise: NoiseMode = "active", **data: Any) -> TrainedModel:
    """As if trained: its batch norm has seen images."""
    described = experiment(
        model=fields, data={"name": "digits", "examples": 300, "resize": 16, "channels": 3, **data}
    )
    classifier = untrained(described).train()
    for _ in range(2):
        classifier(random_images(described.data.shape))
    return TrainedModel(
        without_noise(classifier, described) if noise == "off" else classifier, described, noise
    )


def difference(built: TrainedModel, format: str, folder: Path) -> float:
    kind = FORMATS[format]  # type: ignore[index]
    kind.write(built, folder / kind.file)
    return largest_difference(
        built, kind.read(folder / kind.file), random_images(built.experiment.data.shape)
    )


KINDS: list[type[Model]] = [kind for kind in members(AnyModel) if kind not in MISSING]  # type: ignore[misc]
FAMILIES = [plain(kind) for kind in KINDS]
NOISY = [
    plain(kind) | noise
    for kind in KINDS
    if "weight_noise" in kind.model_fields
    for noise in [
        {"input_sigma": 0.1},
        *({"weight_noise": {"name": instance(n).name}} for n in members(AnyWeightNoise)),
    ]
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fields", FAMILIES, ids=lambda fields: fields["name"])
def test_every_family_answers_the_same_from_every_format(
    fields: dict[str, Any], format: str, tmp_path: Path
) -> None:
    assert difference(model(fields), format, tmp_path) <= TOLERANCE


def test_pooling_that_is_rounded_up_at_the_border_is_the_same_in_onnx(tmp_path: Path) -> None:
    mnist = model(
        {"name": "maxout", "network": "student_mnist", "scale": 0.125}, resize=28, channels=1
    )
    assert difference(mnist, "onnx", tmp_path) <= TOLERANCE


@pytest.mark.parametrize(
    ("format", "normalization"),
    [pair for pair in product(FORMATS, NORMALIZATIONS) if pair not in COSTLY],
)
def test_the_normalisation_is_inside(normalization: str, format: str, tmp_path: Path) -> None:
    built = model({"name": "mlp"}, resize=8, normalization=normalization)
    assert difference(built, format, tmp_path) <= TOLERANCE
    bare = TrainedModel(built.classifier, built.experiment, "active")
    answered = FORMATS[format].read(tmp_path / FORMATS[format].file)  # type: ignore[index]
    bare.classifier.normalization = nn.Identity()
    found = largest_difference(bare, answered, random_images(built.experiment.data.shape))
    assert (found > TOLERANCE) == (normalization != "none")


@pytest.mark.parametrize("fields", NOISY, ids=str)
def test_a_model_whose_noise_is_off_answers_the_same_in_onnx(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    quiet = model(fields, "off")
    assert draws(quiet.experiment)
    assert not quiet.draws
    assert torch.equal(quiet(images := random_images(quiet.experiment.data.shape)), quiet(images))
    if (
        "cni" in str(fields) and fields["name"] == "cifar_resnet"
    ):  # without noise they are all alike
        assert difference(quiet, "onnx", tmp_path) <= TOLERANCE


@pytest.mark.parametrize("format", ["safetensors", "torch-export"])
@pytest.mark.parametrize("fields", [f for f in NOISY if f["name"] == "cifar_resnet"], ids=str)
def test_a_model_that_draws_draws_the_same_from_its_file(
    fields: dict[str, Any], format: str, tmp_path: Path
) -> None:
    noisy = model(fields)
    assert noisy.draws
    images = random_images(noisy.experiment.data.shape)
    assert not torch.allclose(noisy(images), noisy(images), atol=1e-3)
    assert difference(noisy, format, tmp_path) == 0


def test_noise_that_is_off_leaves_every_weight_at_its_mean() -> None:
    noisy = model({"name": "cifar_resnet", "depth": 8, "weight_noise": {"name": "cni"}})
    quiet = without_noise(noisy.classifier, noisy.experiment)
    images = random_images(noisy.experiment.data.shape)
    with seeds.ambient(0, "evaluation"), torch.no_grad():
        mean = torch.stack([noisy(images) for _ in range(64)]).mean(0)
    for layer in noisy.classifier.modules():
        if hasattr(layer, "noise"):
            layer.noise = Silent()
    with torch.no_grad():
        assert torch.equal(quiet.logits(images), noisy(images))
        assert not torch.allclose(
            quiet.logits(images), mean, atol=1e-3
        )  # the mean network is not the mean answer


class Silent(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(weight)


def test_onnx_says_what_it_is_and_takes_any_number_of_images(tmp_path: Path) -> None:
    built, file = model({"name": "mlp"}), tmp_path / "model.onnx"
    FORMATS["onnx"].write(built, file)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]  # weights inside
    written = onnx.load(file)
    onnx.checker.check_model(written, full_check=True)
    assert {each.domain: each.version for each in written.opset_import} == {"": OPSET}
    assert {each.key: each.value for each in written.metadata_props}[
        "kdray.trial_id"
    ] == built.experiment.trial_id
    session = onnxruntime.InferenceSession(file)
    assert [(each.name, each.shape) for each in session.get_inputs()] == [
        ("images", ["batch", 3, 16, 16])
    ]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("logits", ["batch", 10])
    ]


def test_torch_export_stores_weights_as_raw_bytes(tmp_path: Path) -> None:
    file = tmp_path / "model.pt2"
    FORMATS["torch-export"].write(model({"name": "mlp"}), file)
    with zipfile.ZipFile(file) as parts:
        configs = [
            json.loads(parts.read(name))
            for name in parts.namelist()
            if name.endswith("_config.json")
        ]
        assert [name for name in parts.namelist() if name.endswith((".pkl", ".pickle"))] == []
    stored = [tensor for config in configs for tensor in config["config"].values()]
    assert stored
    assert not any(tensor["use_pickle"] for tensor in stored)


def test_a_difference_is_told_relative_to_the_largest_logit_above_1() -> None:
    images = torch.zeros(3, 1, 2, 2)

    def constant(value: float) -> Any:
        return lambda batch: torch.full((len(batch), 2), value)

    assert largest_difference(constant(0.5), constant(0.75), images) == 0.25
    assert largest_difference(constant(50.0), constant(55.0), images) == pytest.approx(0.1)
    assert torch.tensor(largest_difference(constant(1.0), constant(float("nan")), images)).isnan()


def test_a_batch_size_that_was_built_in_shows() -> None:
    drawn = random_images((1, 2, 2))
    assert len(drawn) % BATCH not in (0, 1)
    assert len({len(batch) for batch in drawn.split(BATCH)}) == 2
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name.startswith("onnx") else sys
    )
    with pytest.raises(
        InputError,
        match=r"--format onnx: needs onnx, onnxscript, onnxruntime; pip install 'kdray\[export\]'",
    ):
        require_packages("onnx")
    require_packages("safetensors")
    require_packages("torch-export")
