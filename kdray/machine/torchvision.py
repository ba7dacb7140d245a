"""Makes ``import torchvision`` work where its compiled operators cannot be loaded.

A CPU build of torch beside the registry's torchvision wheel cannot load that wheel's operators, and
its import dies with "operator torchvision::nms does not exist", because it registers fake kernels
for two operators that are not there. Declaring their schemas first makes everything but those two
operators work; kdray uses neither.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_LIBRARIES: list[
    torch.library.Library
] = []  # a schema lives as long as the library object that declared it


def _operators_load() -> bool:
    """Whether torchvision's own operators are usable in this process."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return True  # nothing to mend: the import itself will say what is wrong
    for folder in spec.submodule_search_locations:
        extension = importlib.machinery.PathFinder.find_spec("_C", [folder])
        if extension is not None and extension.origin:
            try:
                torch.ops.load_library(extension.origin)
            except OSError:
                return False
    return hasattr(torch.ops.torchvision, "nms")


@functools.cache
def torchvision_part(name: str) -> ModuleType:
    """The module ``torchvision.name``, imported whether or not the compiled operators load."""
    if not _operators_load():
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator, schema in _SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, operator):
                library.define(schema)
        _LIBRARIES.append(library)
    return importlib.import_module(f"torchvision.{name}")
