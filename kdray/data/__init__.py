"""Data sets. A new one is a file with a subclass of :class:`ImageData`, and its name in
:data:`AnyData`."""

from typing import Annotated

from kdray.core import OpenUnion
from kdray.data.arrays import Arrays
from kdray.data.augmentation import Augmentation, Examples, Views, to_unit
from kdray.data.base import TRAINING_ONLY, ImageData, Obtained, Shape, data_root
from kdray.data.cinic10 import CINIC10
from kdray.data.digits import Digits
from kdray.data.huggingface import HuggingFace
from kdray.data.image_folder import ImageFolder
from kdray.data.imagenet import ImageNet, TinyImageNet
from kdray.data.own import OwnData
from kdray.data.splits import Dataset, Split
from kdray.data.stl10 import STL10
from kdray.data.svhn import SVHN
from kdray.data.vision import CIFAR10, CIFAR100, MNIST, USPS, FashionMNIST, VisionData

AnyData = Annotated[
    Digits
    | MNIST
    | FashionMNIST
    | USPS
    | CIFAR10
    | CIFAR100
    | CINIC10
    | SVHN
    | STL10
    | TinyImageNet
    | ImageNet
    | Arrays
    | ImageFolder
    | HuggingFace,
    OpenUnion(ImageData),
]

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CINIC10",
    "MNIST",
    "STL10",
    "SVHN",
    "TRAINING_ONLY",
    "USPS",
    "AnyData",
    "Arrays",
    "Augmentation",
    "Dataset",
    "Digits",
    "Examples",
    "FashionMNIST",
    "HuggingFace",
    "ImageData",
    "ImageFolder",
    "ImageNet",
    "Obtained",
    "OwnData",
    "Shape",
    "Split",
    "TinyImageNet",
    "Views",
    "VisionData",
    "data_root",
    "to_unit",
]
