"""How large and how fast a network is: parameters, weights, multiply-accumulates, inference images
per second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdray.core import seeds
from kdray.data import Shape
from kdray.models.base import Classifier


class Size(NamedTuple):
    """The size of a network."""

    parameters: int
    """Everything that is learned, with biases, batch norm and the coefficients of weight noise."""
    weights: int
    """Of convolutions and linear layers, without biases."""
    macs: int
    """Multiply-accumulates of convolutions and linear layers for one image."""


def size(classifier: Classifier, shape: Shape) -> Size:
    """Counted, not estimated; the multiplications by running one image through. The normalisation
    is not counted."""
    network = classifier.network
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad(), _undisturbed(classifier), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device=classifier.device))
    return Size(
        parameters=sum(p.numel() for p in network.parameters()),
        weights=sum(layer.weight.numel() for layer in layers),
        macs=counter.get_total_flops() // 2,  # torch counts a multiplication and an addition
    )


@torch.no_grad()
def images_per_second(
    classifier: Classifier, shape: Shape, *, batch_size: int = 128, seconds: float = 0.1
) -> float:
    """Inference throughput in eval mode, after one batch of warm-up; at least ``seconds`` long. A
    timing, not a fact."""
    device = classifier.device
    images = torch.zeros(batch_size, *shape, device=device)
    with _undisturbed(classifier):
        classifier(images)
        _wait(device)
        start, done = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds or not done:
            classifier(images)
            _wait(device)
            done += batch_size
    return done / max(elapsed, 1e-9)


@contextmanager
def _undisturbed(classifier: Classifier) -> Iterator[None]:
    """The classifier in eval mode inside the block; after it, its mode and torch's global generator
    are as before."""
    training = classifier.training
    with seeds.ambient(0, "model"):
        classifier.eval()
        yield
        classifier.train(training)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
