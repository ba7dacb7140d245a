"""Models. A new family is a file with a subclass of :class:`Model` and its network, and its name in
:data:`AnyModel`."""

from typing import Annotated

from kdray.core import OpenUnion
from kdray.models.base import Classifier, Model, Network, Outputs, Stochastic, build
from kdray.models.cifar_resnet import CifarResNet
from kdray.models.cnn import CNN
from kdray.models.facts import (
    Described,
    blueprint,
    has_dropout,
    is_stochastic,
    smallest_batch,
    stage_shapes,
)
from kdray.models.from_plugin import FromPlugin
from kdray.models.from_timm import Timm
from kdray.models.from_torchvision import Torchvision
from kdray.models.maxout import Maxout
from kdray.models.mlp import MLP
from kdray.models.mobilenet_v2 import MobileNetV2
from kdray.models.normalization import (
    ContrastNormalize,
    Standardize,
    Whiten,
    fit,
    fitted,
    normalizer,
    storage_key,
)
from kdray.models.preact_resnet import PreActResNet
from kdray.models.resnet import ResNet
from kdray.models.sizes import Size, images_per_second, size
from kdray.models.smoothing import Smoothing, smoothed
from kdray.models.vgg import VGG
from kdray.models.wide_resnet import WideResNet

AnyModel = Annotated[
    MLP
    | CNN
    | WideResNet
    | ResNet
    | CifarResNet
    | PreActResNet
    | VGG
    | MobileNetV2
    | Maxout
    | Torchvision
    | Timm
    | FromPlugin,
    OpenUnion(Model),
]

__all__ = [
    "CNN",
    "MLP",
    "VGG",
    "AnyModel",
    "CifarResNet",
    "Classifier",
    "ContrastNormalize",
    "Described",
    "FromPlugin",
    "Maxout",
    "MobileNetV2",
    "Model",
    "Network",
    "Outputs",
    "PreActResNet",
    "ResNet",
    "Size",
    "Smoothing",
    "Standardize",
    "Stochastic",
    "Timm",
    "Torchvision",
    "Whiten",
    "WideResNet",
    "blueprint",
    "build",
    "fit",
    "fitted",
    "has_dropout",
    "images_per_second",
    "is_stochastic",
    "normalizer",
    "size",
    "smallest_batch",
    "smoothed",
    "stage_shapes",
    "storage_key",
]
