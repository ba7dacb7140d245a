"""Trained models for others: as an nn.Module, as a file that needs kdray, torch or only ONNX
Runtime, with a model card."""

from kdray.exporting.agreement import TOLERANCE, Disagreement
from kdray.exporting.export import Exported, export
from kdray.exporting.formats import FORMATS, FormatName
from kdray.exporting.loading import load_model
from kdray.exporting.trained import NoiseMode, TrainedModel

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Disagreement",
    "Exported",
    "FormatName",
    "NoiseMode",
    "TrainedModel",
    "export",
    "load_model",
]
