"""A training in progress, and what a checkpoint holds of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdray.machine.checked_file import Damaged, pack, unpack
from kdray.models import Classifier
from kdray.training.averaging import AveragedClassifier
from kdray.training.settings import Training


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
    averaged: AveragedClassifier | None = None
    """Where an average of the weights is asked for."""

    @classmethod
    def before(cls, classifier: Classifier, helper: nn.Module, training: Training) -> State:
        """Before the first epoch."""
        optimizer = training.optimizer.build(learning(classifier, helper))
        average = training.average
        averaged = None if average is None else AveragedClassifier(classifier, average)
        return cls(classifier, helper, optimizer, averaged=averaged)

    @property
    def measured(self) -> Classifier:
        """The network that is measured and kept: the average, as soon as there is one."""
        if self.averaged is None or not self.averaged.count:
            return self.classifier
        return self.averaged.classifier

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.history)

    def kept(self) -> dict[str, Tensor]:
        """The weights to store."""
        return self.best if self.best is not None else self.measured.state_dict()

    def pack(self, facts: dict[str, Any]) -> bytes:
        """A checkpoint, with ``facts`` beside the state. Optimisers hold tensors only."""
        tensors = {f"model.{name}": tensor for name, tensor in self.classifier.state_dict().items()}
        tensors |= {f"helper.{name}": tensor for name, tensor in self.helper.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": slot
                for name, slot in slots.items()
                if slot is not None
            }
        tensors |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        if self.measured is not self.classifier:
            averaged = self.measured.state_dict()
            tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.items()}
        return pack(
            tensors,
            {
                "history": [vars(epoch) for epoch in self.history],
                "kept_epoch": self.kept_epoch,
                "averaged": 0 if self.averaged is None else self.averaged.count,
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
            "averaged": {},
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
            count = facts.pop("averaged", 0)
            if self.averaged is not None and count:
                self.averaged.classifier.load_state_dict(groups["averaged"])
                self.averaged.count = count
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error).splitlines()[0]) from None
        device = self.classifier.device
        self.best = {name: tensor.to(device) for name, tensor in groups["best"].items()} or None
        return facts


def learning(classifier: Classifier, helper: nn.Module) -> nn.Module:
    return nn.ModuleList([classifier, helper])
