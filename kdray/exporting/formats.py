"""The formats of an exported model: how each is written, read back, and loaded by its user."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kdray.core import InputError, canonical_json
from kdray.exporting.agreement import Answer
from kdray.exporting.loading import MODEL_FILE
from kdray.exporting.trained import TrainedModel, packed, unpacked

FormatName = Literal["safetensors", "huggingface", "onnx", "torch-export"]
OPSET = 20
"""Of the ONNX operators that are written; ONNX Runtime 1.17 and later know it."""


class Format(NamedTuple):
    """One way to hand a model on."""

    file: str
    title: str
    needs: tuple[str, ...]
    """Optional packages, without which it cannot be written."""
    write: Callable[[TrainedModel, Path], None]
    read: Callable[[Path], Answer]
    """What the file answers, as its user would ask it."""


def require_packages(name: FormatName) -> None:
    """:class:`InputError` that says what to install, if something is missing."""
    if missing := [
        package for package in FORMATS[name].needs if importlib.util.find_spec(package) is None
    ]:
        raise InputError(
            f"--format {name}: needs {', '.join(missing)}; pip install 'kdray[export]'"
        )


def facts(model: TrainedModel) -> dict[str, str]:
    """What a file says of itself beside its tensors."""
    return {
        "kdray.trial_id": model.experiment.trial_id,
        "kdray.trials.experiment": canonical_json(model.experiment),
    }


def _write_safetensors(model: TrainedModel, path: Path) -> None:
    path.write_bytes(packed(model))


def _read_safetensors(path: Path) -> Answer:
    return unpacked(path.read_bytes(), str(path), "active")


def _program(model: TrainedModel) -> torch.export.ExportedProgram:
    """The model as a graph for any number of images."""
    example = torch.zeros(
        2, *model.experiment.data.shape
    )  # of one image the exporter would take the 1 for a constant
    return torch.export.export(
        model, (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, strict=False
    )


def _write_torch_export(model: TrainedModel, path: Path) -> None:
    with _quietly():
        torch.export.save(
            _program(model), path, extra_files={"kdray.json": json.dumps(facts(model))}
        )


def _read_torch_export(path: Path) -> Answer:
    with _quietly():
        module: Answer = torch.export.load(path).module()
    return module


def _write_onnx(model: TrainedModel, path: Path) -> None:
    with _quietly():
        program = torch.onnx.export(
            _program(model),
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
            verbose=False,
        )
        assert program is not None  # dynamo's exporter always returns one
        program.model.metadata_props.update(facts(model))
        program.save(path, external_data=False)


def _read_onnx(path: Path) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return answer


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' warnings, which are about their own parts; what matters is compared
    afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


FORMATS: dict[FormatName, Format] = {
    "safetensors": Format(
        MODEL_FILE, "safetensors, for kdray", (), _write_safetensors, _read_safetensors
    ),
    "huggingface": Format(
        MODEL_FILE, "safetensors, for kdray", (), _write_safetensors, _read_safetensors
    ),
    "onnx": Format(
        "model.onnx",
        f"ONNX, opset {OPSET}",
        ("onnx", "onnxscript", "onnxruntime"),
        _write_onnx,
        _read_onnx,
    ),
    "torch-export": Format(
        "model.pt2", "torch.export, for torch alone", (), _write_torch_export, _read_torch_export
    ),
}
