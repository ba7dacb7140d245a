"""The training loop, and what a checkpoint holds.

The loop never names a method: noise is in the batch, forward passes are in the method, Ray is far away. It is a generator
that trains one epoch for each item, so that whoever runs it decides when to checkpoint and when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from kdray import seeds
from kdray.core import Value
from kdray.data import Dataset, ImageData, batches
from kdray.methods import Batch, Losses, Method, Teacher
from kdray.models import Classifier
from kdray.optimizers import SGD, AnyOptimizer, AnySchedule, Constant
from kdray.perturbations import Noise
from kdray.robustness import score
from kdray.weights import Damaged, pack, unpack


class Training(Value):
    """How a network is trained, whatever the method."""

    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = Constant()
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 128
    keep: Literal["last", "best_validation"] = "last"
    """Which weights are stored and measured: after the last epoch, or of the first epoch with the best val_accuracy."""


class Diverged(Exception):
    """The loss of an epoch is not finite."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The numbers of one epoch; see the epochs table for their meaning."""

    stage: str
    epoch: int
    learning_rate: float
    loss: float
    terms: dict[str, float]
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    images_per_second: float
    seconds: float

    def row(self) -> dict[str, Any]:
        """As columns of the epochs table."""
        plain = asdict(self)
        terms = {f"loss.{name}": value for name, value in plain.pop("terms").items()}
        return {**plain, **terms}


@dataclass
class State:
    """A training in progress: everything that the rest of it depends on."""

    classifier: Classifier
    optimizer: torch.optim.Optimizer
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    """Weights of the best epoch, where those are to be kept."""
    kept_epoch: int = 0

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.history)

    def kept(self) -> dict[str, Tensor]:
        """The weights to store."""
        return self.best if self.best is not None else self.classifier.state_dict()

    def pack(self, facts: dict[str, Any]) -> bytes:
        """A checkpoint, with ``facts`` beside the state. Optimisers hold tensors only (SGD, Adam)."""
        tensors = {f"model.{name}": tensor for name, tensor in self.classifier.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": slot for name, slot in slots.items() if slot is not None}
        tensors |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        return pack(tensors, {"history": [asdict(e) for e in self.history], "kept_epoch": self.kept_epoch, **facts})

    def unpack(self, packed: bytes) -> dict[str, Any]:
        """Take over a checkpoint of the same training and return its facts; :class:`Damaged` if it is not one."""
        tensors, facts = unpack(packed)
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
        slots: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in tensors.items():
                group, _, rest = name.partition(".")
                groups[group][rest] = tensor
            for name, tensor in groups["optimizer"].items():
                index, _, slot = name.partition(".")
                slots.setdefault(int(index), {})[slot] = tensor
            self.classifier.load_state_dict(groups["model"])
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
            self.history = [Epoch(**entry) for entry in facts.pop("history")]
            self.kept_epoch = facts.pop("kept_epoch")
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error).splitlines()[0]) from None
        device = self.classifier.mean.device
        self.best = {name: tensor.to(device) for name, tensor in groups["best"].items()} or None
        return facts


def train(
    state: State, *, data: ImageData, dataset: Dataset, method: Method, training: Training, noise: Noise,
    teacher: Teacher | None, seed: int,
) -> Iterator[Epoch]:  # fmt: skip
    """Train from where ``state`` stands to the last epoch, yielding after each; ``dataset`` is on the training device."""
    classifier, optimizer, device = state.classifier, state.optimizer, dataset.train.images.device
    for epoch in range(len(state.history), training.epochs):
        began = perf_counter()
        rate = training.optimizer.learning_rate * training.schedule.factor(epoch, training.epochs)
        for group in optimizer.param_groups:
            group["lr"] = rate
        labels = training_labels(dataset, data.classes, noise, seed, epoch)
        draws = seeds.generator(seed, "input_noise", epoch, device=device)
        totals = Totals(method.terms, device)
        classifier.train()
        with seeds.ambient(seed, "dropout", epoch):
            for index, clean in batches(
                dataset.train, training.batch_size, data.augment,
                order=seeds.generator(seed, "data_order", epoch),
                augmentation=seeds.generator(seed, "augmentation", epoch),
            ):  # fmt: skip
                images = clean if noise.input is None else noise.input(clean, draws)
                losses = method.losses(classifier, Batch(images, clean, labels[index]), teacher)
                optimizer.zero_grad(set_to_none=True)
                losses.total.backward()
                optimizer.step()
                totals.add(losses, labels[index])
        loss, terms, accuracy = totals.means()  # the epoch's one wait for the device
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss} in epoch {epoch + 1} of {training.epochs}")
        trained = perf_counter()
        classifier.eval()
        correct, val_loss = score(classifier, dataset.val)
        if not math.isfinite(val_loss):  # the epoch's last step did it: no training loss has seen it yet
            raise Diverged(f"the validation loss is {val_loss} in epoch {epoch + 1} of {training.epochs}")
        state.history.append(Epoch(
            stage="main", epoch=epoch + 1, learning_rate=rate, loss=loss, terms=terms, train_accuracy=accuracy,
            val_loss=val_loss, val_accuracy=correct / len(dataset.val.labels),
            images_per_second=len(labels) / (trained - began), seconds=perf_counter() - began,
        ))  # fmt: skip
        keep(state, training)
        yield state.history[-1]


def training_labels(dataset: Dataset, classes: int, noise: Noise, seed: int, epoch: int) -> Tensor:
    """The labels of the training split in one epoch, corrupted where ``noise`` says so."""
    if noise.labels is None:
        return dataset.train.labels
    drawn_in = epoch if noise.labels.resample == "epoch" else 0
    corrupted = noise.labels(dataset.train.labels.cpu(), classes, seeds.generator(seed, "label_noise", drawn_in))
    return corrupted.to(dataset.train.labels.device)


def keep(state: State, training: Training) -> None:
    """Note the epoch just done as the one to keep, if it is."""
    latest = state.history[-1]
    if training.keep == "last":
        state.kept_epoch = latest.epoch
    elif all(latest.val_accuracy > earlier.val_accuracy for earlier in state.history[:-1]):
        state.kept_epoch = latest.epoch
        state.best = {name: tensor.clone() for name, tensor in state.classifier.state_dict().items()}


class Totals:
    """Sums over the examples of an epoch, kept on the device until they are asked for."""

    def __init__(self, terms: tuple[str, ...], device: torch.device) -> None:
        self._names = ("total", *terms)
        self._sums = torch.zeros(len(self._names) + 1, dtype=torch.float64, device=device)
        self._examples = 0

    def add(self, losses: Losses, labels: Tensor) -> None:
        values = [losses.total, *(losses.terms[name] for name in self._names[1:])]
        correct = (losses.logits.argmax(1) == labels).sum()
        batch = torch.stack([value.detach().double() * len(labels) for value in values] + [correct.double()])
        self._sums += batch
        self._examples += len(labels)

    def means(self) -> tuple[float, dict[str, float], float]:
        """The total loss, its terms, and the accuracy."""
        total, *terms, accuracy = (self._sums / self._examples).tolist()
        return total, dict(zip(self._names[1:], terms, strict=True)), accuracy
