"""How an exported model is loaded: a program for each format that runs in the folder of the
export."""

from __future__ import annotations

from kdray.data import Shape
from kdray.exporting.formats import FORMATS, OPSET, FormatName

_PROGRAMS: dict[FormatName, str] = {
    "safetensors": """
import kdray
import torch

model = kdray.load_model("{file}")  # in eval mode, on the CPU
images = torch.rand(4, {shape})  # your images: float32 in [0, 1]
with torch.no_grad():
    logits = model(images)
print(logits.argmax(dim=1))
""",
    "huggingface": """
import kdray
import torch

# In the folder of this card, which huggingface_hub.snapshot_download brings from the Hub.
model = kdray.load_model("{file}")  # in eval mode, on the CPU
images = torch.rand(4, {shape})  # your images: float32 in [0, 1]
with torch.no_grad():
    logits = model(images)
print(logits.argmax(dim=1))
""",
    "onnx": """
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
images = np.random.rand(4, {shape}).astype(np.float32)  # your images: float32 in [0, 1]
(logits,) = session.run(["logits"], {{"images": images}})
print(logits.argmax(axis=1))
""",
    "torch-export": """
import torch

model = torch.export.load("{file}").module()
images = torch.rand(4, {shape})  # your images: float32 in [0, 1]
with torch.no_grad():
    logits = model(images)
print(logits.argmax(dim=1))
""",
}
NOTES: dict[FormatName, str] = {
    "safetensors": (
        "Needs kdray, not the results folder. Nothing is unpickled, and a checksum tells "
        "if the file was altered. "
        "`safetensors.torch.load_file` reads the bare tensors without kdray."
    ),
    "huggingface": (
        "Needs kdray. The folder is a repository for the Hugging Face Hub as it is: `hf upload "
        "OWNER/NAME .` in it, or `huggingface_hub.HfApi().upload_folder`. Nothing is unpickled, "
        "and a checksum tells if the file was altered."
    ),
    "onnx": (
        f"Needs ONNX Runtime only. Opset {OPSET}; input `images`, output `logits`, any "
        "number of images at once; "
        "the file's metadata hold the experiment."
    ),
    "torch-export": (
        "Needs torch only, of a version close to the one below. The file is a zip. Its "
        "weights are raw bytes and its graph is "
        "JSON, but `torch.export.load` also unpickles (an example input here, whatever a "
        "forged file holds): load only files "
        "that you trust. Take the safetensors format where that matters."
    ),
}


def program(format: FormatName, shape: Shape) -> str:
    """The Python program that loads the model and asks it about four images."""
    return (
        _PROGRAMS[format]
        .format(file=FORMATS[format].file, shape=", ".join(map(str, shape)))
        .strip()
    )
