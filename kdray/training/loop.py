"""The training loop.

The loop never names a method: noise is in the batch, forward passes are in the method, Ray is far
away. It is a generator that trains one epoch for each item, so that whoever runs it decides when to
checkpoint and when to stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from kdray.core import seeds
from kdray.data import Dataset, ImageData, Views
from kdray.methods import Batch, EpochViews, Losses, Method, Stage, TeacherSource, TrainingStep
from kdray.models import Classifier
from kdray.perturbations import Noise
from kdray.robustness import Gradients, Subject, score
from kdray.training.compute import computing_in, rounding_operands
from kdray.training.keeping import METRIC, Best
from kdray.training.settings import Training
from kdray.training.state import Epoch, State, learning
from kdray.training.steps import ReplayedSteps, Steps
from kdray.training.transforms import Transformed, transformed


class Diverged(Exception):
    """The loss of an epoch is not finite."""


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """What a training works with."""

    data: ImageData
    dataset: Dataset
    """On the training device."""
    method: Method
    training: Training
    noise: Noise
    oracle: TeacherSource | None
    """The teacher as this training asks it."""
    seed: int
    smallest_batch: int = 1
    """Images that the network needs at least; a smaller last batch is part of the one before it."""
    cuda_graph: bool = False
    """Whether steps are replayed as a CUDA graph."""

    def teacher_views(self, views: Views, labels: Tensor) -> EpochViews | None:
        """What the teacher sees of an epoch with these ``labels``; none: images that nobody sees
        again, because they are noisy or transformed."""
        if self.noise.teacher_sees == "noisy" or self.training.transforms:
            return None
        stay = self.noise.labels is None or self.noise.labels.resample != "epoch"
        return EpochViews(self.dataset.train, views, labels if stay else None)

    def transformed(
        self, images: Tensor, labels: Tensor, *counters: int, stream: seeds.Stream = "transforms"
    ) -> Transformed:
        """A batch after the training's transforms; ``counters`` tell it from others."""
        transforms, classes = self.training.transforms, self.data.classes
        return transformed(transforms, images, labels, classes, self.seed, *counters, stream=stream)


def train(state: State, setup: TrainingSetup) -> Iterator[Epoch]:
    """Train from where ``state`` stands to the last epoch of the last stage, yielding after each
    epoch."""
    done = len(state.history)
    for number, stage in enumerate(setup.method.stages(setup.training.epochs)):
        if done >= stage.epochs:
            done -= stage.epochs
            continue
        if done == 0:
            state.optimizer = setup.training.optimizer.build(
                learning(state.classifier, state.helper)
            )
        steps = steps_of(state, setup, stage)
        for epoch in range(done, stage.epochs):
            # The main stage's streams are the same whatever came before it.
            counters = (epoch,) if stage.name == "main" else (epoch, -1 - number)
            state.history.append(train_epoch(state, setup, stage, epoch, counters, steps))
            if stage.name == "main":
                keep(state, setup.training)
            yield state.history[-1]
        done = 0


def steps_of(state: State, setup: TrainingSetup, stage: Stage) -> Steps:
    """How the gradients of a stage's steps are computed."""
    kind = ReplayedSteps if setup.cuda_graph else Steps
    learned = learning(state.classifier, state.helper)
    return kind(setup.method, stage.name, setup.training.precision, learned)


def train_epoch(
    state: State,
    setup: TrainingSetup,
    stage: Stage,
    epoch: int,
    counters: tuple[int, ...],
    steps: Steps,
) -> Epoch:
    """Train the epoch with index ``epoch`` of ``stage`` in ``steps``, and measure it."""
    began = perf_counter()
    training, dataset = setup.training, setup.dataset
    factor = training.schedule.factor(epoch, stage.epochs)
    rate = training.optimizer.set_rate(state.optimizer, factor)
    totals = Totals(dataset.train.device)
    gradients = Gradients(state.classifier) if training.gradients and stage.name == "main" else None
    train_batches(state, setup, stage, counters, steps, totals, gradients)
    loss, terms, accuracy = totals.means()  # the epoch's one wait for the device
    where = f"in epoch {epoch + 1} of {stage.epochs}" + (
        "" if stage.name == "main" else f" of stage {stage.name}"
    )
    if not math.isfinite(loss):
        raise Diverged(f"the loss is {loss} {where}")
    trained = perf_counter()
    if stage.name == "main":
        average_after(state, setup, epoch, stage.epochs)
    classifier = state.measured.eval()
    with seeds.ambient(0, "evaluation"):
        correct, val_loss = score(classifier, dataset.val)
    # Where the epoch's last step did it, no training loss has seen it yet.
    if not math.isfinite(val_loss):
        raise Diverged(f"the validation loss is {val_loss} {where}")
    measured = [] if gradients is None else gradients.rows(len(dataset.train.labels))
    if stage.name == "main":
        measured += monitored(classifier, setup, epoch)
    return Epoch(
        stage=stage.name,
        epoch=epoch + 1,
        learning_rate=rate,
        loss=loss,
        terms=terms,
        train_accuracy=accuracy,
        val_loss=val_loss,
        val_accuracy=correct / len(dataset.val.labels),
        images_per_second=len(dataset.train.labels) / (trained - began),
        seconds=perf_counter() - began,
        measured=[{**row, "epoch": epoch + 1} for row in measured],
    )


def train_batches(
    state: State,
    setup: TrainingSetup,
    stage: Stage,
    counters: tuple[int, ...],
    steps: Steps,
    totals: Totals,
    gradients: Gradients | None,
) -> None:
    """Take a step of the optimiser for each batch of an epoch, adding up ``totals`` and
    ``gradients``."""
    classifier, dataset, seed = state.classifier, setup.dataset, setup.seed
    device = dataset.train.device
    labels = training_labels(dataset, setup.data.classes, setup.noise, seed, counters)
    noise_draws, attack_draws = (
        seeds.generator(seed, s, *counters, device=device) for s in ("input_noise", "attack")
    )
    attack_draws = steps.draws_of(attack_draws)
    views = Views.drawn(
        len(labels),
        setup.data.augmentation,
        order=seeds.generator(seed, "data_order", *counters),
        draws=seeds.generator(seed, "augmentation", *counters),
    )
    seen = setup.teacher_views(views, labels)
    teacher = None if setup.oracle is None else setup.oracle.epoch(*counters, views=seen)
    classifier.train()
    state.helper.train()
    with seeds.ambient(seed, "dropout", *counters), rounding_operands(setup.training.precision):
        for number, (at, index, shown) in enumerate(
            views.batches(dataset.train, setup.training.batch_size, least=setup.smallest_batch)
        ):
            clean, of_images, mixed = setup.transformed(shown, labels[index], *counters, number)
            images = clean if setup.noise.input is None else setup.noise.input(clean, noise_draws)
            batch = Batch(
                images,
                images if setup.noise.teacher_sees == "noisy" else clean,
                of_images,
                None if seen is None else at,
                index,
                mixed,
            )
            losses = steps(
                TrainingStep(classifier, state.helper, batch, teacher, attack_draws, counters[0])
            )
            descend(state, setup.training, gradients)
            if stage.name == "main" and state.averaged is not None:
                state.averaged.average.after_step(state.averaged, classifier)
            totals.add(losses, batch.labels)


def descend(state: State, training: Training, gradients: Gradients | None) -> None:
    """Take a step of the optimiser, adding what its gradient is before it is clipped to
    ``gradients``."""
    if gradients is not None:
        gradients.add()
    if training.clip_grad_norm is not None:
        learned = learning(state.classifier, state.helper).parameters()
        torch.nn.utils.clip_grad_norm_(learned, training.clip_grad_norm)
    state.optimizer.step()


def average_after(state: State, setup: TrainingSetup, epoch: int, epochs: int) -> None:
    """Bring the average of the weights, if there is one, to where it stands after the epoch with
    index ``epoch`` of the last stage."""
    averaged = state.averaged
    if averaged is None:
        return
    averaged.average.after_epoch(averaged, state.classifier, epoch + 1, epochs)
    if averaged.count:
        device = setup.dataset.train.device
        with (
            seeds.ambient(setup.seed, "batch_norm", epoch),
            computing_in(setup.training.precision, device),
            rounding_operands(setup.training.precision),
        ):
            averaged.settle(state.classifier, student_images(setup, epoch))


def student_images(setup: TrainingSetup, epoch: int) -> Iterator[Tensor]:
    """The training images as a student sees them, in batches and in an order of their own."""
    split, noise = setup.dataset.train, setup.noise.input
    draws = seeds.generator(setup.seed, "batch_norm", epoch, 2, device=split.device)
    views = Views.drawn(
        len(split.labels),
        setup.data.augmentation,
        order=seeds.generator(setup.seed, "batch_norm", epoch, 0),
        draws=seeds.generator(setup.seed, "batch_norm", epoch, 1),
    )
    size, least = setup.training.batch_size, setup.smallest_batch
    for number, (_, at, shown) in enumerate(views.batches(split, size, least=least)):
        clean, *_ = setup.transformed(
            shown, split.labels[at], epoch, 3, number, stream="batch_norm"
        )
        yield clean if noise is None else noise(clean, draws)


def monitored(classifier: Classifier, setup: TrainingSetup, epoch: int) -> list[dict[str, Any]]:
    """The rows that the monitor measures after the epoch with index ``epoch``, if it is due."""
    monitor = setup.training.monitor
    if monitor is None or (epoch + 1) % monitor.every:
        return []
    classifier.requires_grad_(False)  # as evaluations find every classifier
    subject = Subject(classifier, setup.dataset.val, setup.dataset.omitted)
    rows = monitor.rows(subject)
    classifier.requires_grad_(True)
    return rows


def training_labels(
    dataset: Dataset, classes: int, noise: Noise, seed: int, counters: tuple[int, ...]
) -> Tensor:
    """The labels of the training split in one epoch, corrupted where ``noise`` says so: to classes
    that are not omitted."""
    if noise.labels is None:
        return dataset.train.labels
    drawn_in = counters if noise.labels.resample == "epoch" else (0,)
    if noise.labels.names_classes:
        draws = seeds.generator(seed, "label_noise", *drawn_in)
        corrupted = noise.labels(dataset.train.labels.cpu(), classes, draws)
        return corrupted.to(dataset.train.labels.device)
    there = torch.tensor([label for label in range(classes) if label not in dataset.omitted])
    places = torch.searchsorted(there, dataset.train.labels.cpu())
    corrupted = there[
        noise.labels(places, len(there), seeds.generator(seed, "label_noise", *drawn_in))
    ]
    return corrupted.to(dataset.train.labels.device)


def keep(state: State, training: Training) -> None:
    """Note the epoch of the main stage just done as the one to keep, if it is."""
    latest = state.history[-1]
    if training.keep == "last":
        state.kept_epoch = latest.epoch
        return
    number, best = number_to_keep_by(latest, training), None
    if state.kept_epoch:  # the best before: epochs of the main stage are the last of the history
        best = number_to_keep_by(state.history[state.kept_epoch - latest.epoch - 1], training)
    if number is not None and (best is None or number > best):
        state.kept_epoch = latest.epoch
        state.best = {name: tensor.clone() for name, tensor in state.measured.state_dict().items()}


def number_to_keep_by(epoch: Epoch, training: Training) -> float | None:
    """The validation number that says how good an epoch is; none where no monitor looked at it."""
    if not isinstance(training.keep, Best):
        return epoch.val_accuracy
    if training.monitor is None:  # of a training that is only rehearsed
        return None
    wanted = (training.keep.evaluation_id(training.monitor), METRIC)
    numbers = [
        float(row["value"])
        for row in epoch.measured
        if (row.get("evaluation_id"), row["metric"]) == wanted
    ]
    return numbers[0] if numbers else None


class Totals:
    """Sums over the examples of an epoch, kept on the device until they are asked for."""

    def __init__(self, device: torch.device) -> None:
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._sums: dict[tuple[str, ...], Tensor] = {}
        """Of the total and its terms, by the names of the terms that a step has."""
        self._examples = 0

    @torch.no_grad()
    def add(self, losses: Losses, labels: Tensor) -> None:
        """Take over the losses of a batch with these ``labels``."""
        count = len(labels)
        self._examples += count
        self._correct = self._correct + (losses.logits.argmax(1) == labels).sum()
        means = torch.stack([losses.total, *losses.terms.values()])
        weighted = means.double() * count
        names = tuple(losses.terms)
        self._sums[names] = self._sums[names] + weighted if names in self._sums else weighted

    def means(self) -> tuple[float, dict[str, float], float]:
        """The total loss, its terms, and the accuracy."""
        # One copy from the device for all of them.
        listed = torch.cat([self._correct.double()[None], *self._sums.values()]).tolist()
        accuracy, *sums = (number / self._examples for number in listed)
        total, terms = 0.0, dict.fromkeys((name for names in self._sums for name in names), 0.0)
        for names in self._sums:
            total += sums.pop(0)
            for name in names:
                terms[name] += sums.pop(0)
        return total, terms, accuracy
