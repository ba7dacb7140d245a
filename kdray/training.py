"""The training loop, and what a checkpoint holds.

The loop never names a method: noise is in the batch, forward passes are in the method, Ray is far
away. It is a generator that trains one epoch for each item, so that whoever runs it decides when to
checkpoint and when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from kdray import seeds
from kdray.core import Value
from kdray.data import Dataset, ImageData, Views
from kdray.kernels import Precision, computing_in
from kdray.methods import Batch, Losses, Method, Shown, Stage, Step, TeacherSource
from kdray.models import Classifier
from kdray.optimizers import SGD, AnyOptimizer, AnySchedule, Constant
from kdray.perturbations import Noise
from kdray.robustness import Gradients, Monitor, Subject, score
from kdray.weights import Damaged, pack, unpack


class Training(Value):
    """How a network is trained, whatever the method."""

    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = Constant()
    epochs: Annotated[int, Field(ge=1)]
    """Of the last stage; a method's earlier stages have their own."""
    batch_size: Annotated[int, Field(ge=1)] = 128
    precision: Precision = "float32"
    """bfloat16: mixed precision, where forward and backward passes of training have operands of 16
    bits, the teacher's too; weights, optimiser and losses stay float32, and whatever is measured is
    measured in float32."""
    keep: Literal["last", "best_validation"] = "last"
    """Which weights are stored and measured: after the last epoch, or of the first epoch with the
    best val_accuracy (of the last stage)."""
    monitor: Monitor | None = None
    gradients: bool = False
    """Keep the mean magnitude of the loss's gradient for the weights of every layer, over the steps
    of each epoch of the last stage (current_understanding fig. 2): rows in ``robustness`` with
    layer and epoch."""

    @model_validator(mode="after")
    def _looks_while_it_trains(self) -> Training:
        if self.monitor is not None and self.monitor.every > self.epochs:
            raise ValueError(
                f"monitor.every: {self.monitor.every} is more than the {self.epochs} "
                "epochs: it never looks"
            )
        return self


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
    measured: list[dict[str, Any]] = field(default_factory=list)
    """Rows for the robustness table."""

    def row(self) -> dict[str, Any]:
        """As columns of the epochs table."""
        plain = asdict(self)
        terms = {f"loss.{name}": value for name, value in plain.pop("terms").items()}
        del plain["measured"]
        return {**plain, **terms}


@dataclass
class State:
    """A training in progress: everything that the rest of it depends on."""

    classifier: Classifier
    helper: nn.Module
    """What the method learns beside it."""
    optimizer: torch.optim.Optimizer
    """Of the stage that the history ends in."""
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    """Weights of the best epoch, where those are to be kept."""
    kept_epoch: int = 0

    @classmethod
    def before(cls, classifier: Classifier, helper: nn.Module, training: Training) -> State:
        """Before the first epoch."""
        return cls(classifier, helper, training.optimizer.build(_learning(classifier, helper)))

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.history)

    def kept(self) -> dict[str, Tensor]:
        """The weights to store."""
        return self.best if self.best is not None else self.classifier.state_dict()

    def pack(self, facts: dict[str, Any]) -> bytes:
        """A checkpoint, with ``facts`` beside the state. Optimisers hold tensors only (SGD,
        Adam)."""
        tensors = {f"model.{name}": tensor for name, tensor in self.classifier.state_dict().items()}
        tensors |= {f"helper.{name}": tensor for name, tensor in self.helper.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": slot
                for name, slot in slots.items()
                if slot is not None
            }
        tensors |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        return pack(
            tensors,
            {
                "history": [vars(epoch) for epoch in self.history],
                "kept_epoch": self.kept_epoch,
                **facts,
            },
        )

    def unpack(self, packed: bytes) -> dict[str, Any]:
        """Take over a checkpoint of the same training and return its facts; :class:`Damaged` if it
        is not one."""
        tensors, facts = unpack(packed)
        groups: dict[str, dict[str, Tensor]] = {
            "model": {},
            "helper": {},
            "optimizer": {},
            "best": {},
        }
        slots: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in tensors.items():
                group, _, rest = name.partition(".")
                groups[group][rest] = tensor
            for name, tensor in groups["optimizer"].items():
                index, _, slot = name.partition(".")
                slots.setdefault(int(index), {})[slot] = tensor
            self.classifier.load_state_dict(groups["model"])
            self.helper.load_state_dict(groups["helper"])
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
            self.history = [Epoch(**entry) for entry in facts.pop("history")]
            self.kept_epoch = facts.pop("kept_epoch")
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error).splitlines()[0]) from None
        device = self.classifier.device
        self.best = {name: tensor.to(device) for name, tensor in groups["best"].items()} or None
        return facts


def _learning(classifier: Classifier, helper: nn.Module) -> nn.Module:
    return nn.ModuleList([classifier, helper])


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a training works with."""

    data: ImageData
    dataset: Dataset
    """On the training device."""
    method: Method
    training: Training
    noise: Noise
    supervisor: TeacherSource | None
    seed: int

    def shown(self, views: Views, labels: Tensor) -> Shown | None:
        """What the teacher sees of an epoch with these ``labels``; none: the student's noisy
        images."""
        if self.noise.teacher_sees == "noisy":
            return None
        stay = self.noise.labels is None or self.noise.labels.resample != "epoch"
        return Shown(self.dataset.train, views, labels if stay else None)


def train(state: State, lesson: Lesson) -> Iterator[Epoch]:
    """Train from where ``state`` stands to the last epoch of the last stage, yielding after each
    epoch."""
    done = len(state.history)
    for number, stage in enumerate(lesson.method.stages(lesson.training.epochs)):
        if done >= stage.epochs:
            done -= stage.epochs
            continue
        if done == 0:
            state.optimizer = lesson.training.optimizer.build(
                _learning(state.classifier, state.helper)
            )
        for epoch in range(done, stage.epochs):
            # The main stage's streams are the same whatever came before it.
            counters = (epoch,) if stage.name == "main" else (epoch, -1 - number)
            state.history.append(train_epoch(state, lesson, stage, epoch, counters))
            if stage.name == "main":
                keep(state, lesson.training)
            yield state.history[-1]
        done = 0


def train_epoch(
    state: State, lesson: Lesson, stage: Stage, epoch: int, counters: tuple[int, ...]
) -> Epoch:
    """Train the epoch with index ``epoch`` of ``stage`` and measure it."""
    began = perf_counter()
    classifier, optimizer, training, dataset = (
        state.classifier,
        state.optimizer,
        lesson.training,
        lesson.dataset,
    )
    device, seed = dataset.train.images.device, lesson.seed
    rate = training.optimizer.set_rate(optimizer, training.schedule.factor(epoch, stage.epochs))
    labels = training_labels(dataset, lesson.data.classes, lesson.noise, seed, counters)
    noise_draws, attack_draws = (
        seeds.generator(seed, s, *counters, device=device) for s in ("input_noise", "attack")
    )
    views = Views.drawn(
        len(labels),
        lesson.data.augmentation,
        order=seeds.generator(seed, "data_order", *counters),
        draws=seeds.generator(seed, "augmentation", *counters),
    )
    shown = lesson.shown(views, labels)
    teacher = (
        None if lesson.supervisor is None else lesson.supervisor.during(*counters, shown=shown)
    )
    totals, gradients = (
        Totals(device),
        Gradients(classifier) if training.gradients and stage.name == "main" else None,
    )
    classifier.train()
    state.helper.train()
    with seeds.ambient(seed, "dropout", *counters):
        for at, index, clean in views.batches(dataset.train.images, training.batch_size):
            images = clean if lesson.noise.input is None else lesson.noise.input(clean, noise_draws)
            batch = Batch(
                images,
                images if shown is None else clean,
                labels[index],
                None if shown is None else at,
            )
            with computing_in(training.precision, device):
                losses = lesson.method.losses(
                    stage.name, Step(classifier, state.helper, batch, teacher, attack_draws)
                )
            optimizer.zero_grad(set_to_none=True)
            losses.total.backward()
            if gradients is not None:
                gradients.add()
            optimizer.step()
            totals.add(losses, labels[index])
    loss, terms, accuracy = totals.means()  # the epoch's one wait for the device
    where = f"in epoch {epoch + 1} of {stage.epochs}" + (
        "" if stage.name == "main" else f" of stage {stage.name}"
    )
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss} {where}")
    trained = perf_counter()
    classifier.eval()
    with seeds.ambient(0, "evaluation"):
        correct, val_loss = score(classifier, dataset.val)
    if not math.isfinite(
        val_loss
    ):  # the epoch's last step did it: no training loss has seen it yet
        raise Diverged(f"the validation loss is {val_loss} {where}")
    measured = [] if gradients is None else gradients.rows(len(dataset.train.labels))
    if (
        stage.name == "main"
        and training.monitor is not None
        and (epoch + 1) % training.monitor.every == 0
    ):
        classifier.requires_grad_(False)  # as evaluations find every classifier
        subject = Subject(classifier, dataset.val, dataset.omitted)
        measured += training.monitor.rows(subject)
        classifier.requires_grad_(True)
    return Epoch(
        stage=stage.name,
        epoch=epoch + 1,
        learning_rate=rate,
        loss=loss,
        terms=terms,
        train_accuracy=accuracy,
        val_loss=val_loss,
        val_accuracy=correct / len(dataset.val.labels),
        images_per_second=len(labels) / (trained - began),
        seconds=perf_counter() - began,
        measured=[{**row, "epoch": epoch + 1} for row in measured],
    )


def training_labels(
    dataset: Dataset, classes: int, noise: Noise, seed: int, counters: tuple[int, ...]
) -> Tensor:
    """The labels of the training split in one epoch, corrupted where ``noise`` says so: to classes
    that are not omitted."""
    if noise.labels is None:
        return dataset.train.labels
    drawn_in = counters if noise.labels.resample == "epoch" else (0,)
    there = torch.tensor([label for label in range(classes) if label not in dataset.omitted])
    places = torch.searchsorted(there, dataset.train.labels.cpu())
    corrupted = there[
        noise.labels(places, len(there), seeds.generator(seed, "label_noise", *drawn_in))
    ]
    return corrupted.to(dataset.train.labels.device)


def keep(state: State, training: Training) -> None:
    """Note the epoch of the main stage just done as the one to keep, if it is."""
    *earlier, latest = (epoch for epoch in state.history if epoch.stage == "main")
    if training.keep == "last":
        state.kept_epoch = latest.epoch
    elif all(latest.val_accuracy > epoch.val_accuracy for epoch in earlier):
        state.kept_epoch = latest.epoch
        state.best = {
            name: tensor.clone() for name, tensor in state.classifier.state_dict().items()
        }


class Totals:
    """Sums over the examples of an epoch, kept on the device until they are asked for."""

    def __init__(self, device: torch.device) -> None:
        self._total, self._correct = torch.zeros(2, dtype=torch.float64, device=device)
        self._terms: dict[str, Tensor] = {}
        self._examples = 0

    def add(self, losses: Losses, labels: Tensor) -> None:
        count = len(labels)
        self._examples += count
        self._total = self._total + losses.total.detach().double() * count
        self._correct = self._correct + (losses.logits.argmax(1) == labels).sum()
        for name, value in losses.terms.items():
            weighted = value.detach().double() * count
            self._terms[name] = self._terms[name] + weighted if name in self._terms else weighted

    def means(self) -> tuple[float, dict[str, float], float]:
        """The total loss, its terms, and the accuracy."""
        summed = torch.stack([self._total, self._correct, *self._terms.values()])
        total, accuracy, *terms = (summed / self._examples).tolist()
        return total, dict(zip(self._terms, terms, strict=True)), accuracy
