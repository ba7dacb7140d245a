"""The losses of 20 steps on a CPU, which a refactor must reproduce.

Everything that draws takes part: initialisation, order, augmentation, dropout, input noise, label
noise. A change that is meant to change numbers raises the version of what it changes, and these
literals with it.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from kdray.methods import KD, Losses, TrainingStep
from kdray.models import Classifier
from kdray.training import Epoch, train
from kdray.trials.experiment import Experiment
from tests.small_trials import experiment, fresh, setup

DATA = {"name": "digits", "augment": "crop_flip"}
STEPS = 20
BATCH_SIZE = 54  # of 1,077 images: 19 whole batches and one of 51


class Recorded(KD):
    """KD that notes its loss."""

    totals: ClassVar[list[float]] = []

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        found = super().losses(stage, step)
        self.totals.append(float(found.total.detach()))
        return found


DESCRIBED = experiment(
    data=DATA,
    model={"name": "mlp", "hidden": [24, 16], "dropout": 0.1},
    teacher={
        "data": DATA,
        "model": {"name": "mlp", "hidden": [32]},
        "seed": 1,
        "training": {"epochs": 5, "batch_size": 32},
    },
    noise={"input": {"name": "gaussian", "sigma": 0.1}, "labels": {"name": "uniform", "rate": 0.2}},
    method={"name": "kd", "alpha": 0.7, "temperature": 3},
    training={
        "epochs": 1,
        "batch_size": BATCH_SIZE,
        "optimizer": {"name": "sgd", "learning_rate": 0.2, "momentum": 0.9, "weight_decay": 0.0005},
    },
)

LOSSES = [
    5.668467,
    4.686247,
    4.579248,
    4.898367,
    4.892451,
    5.512337,
    4.739303,
    4.218803,
    4.183354,
    4.745149,
    4.144207,
    3.967335,
    4.637338,
    4.604244,
    4.489059,
    4.565384,
    4.277484,
    4.253061,
    3.790037,
    4.295827,
]


@pytest.fixture(scope="module")
def epoch() -> Epoch:
    Recorded.totals.clear()
    assert isinstance(DESCRIBED.method, KD)
    assert DESCRIBED.teacher is not None
    method = Recorded(**DESCRIBED.method.model_dump())
    (only,) = train(
        fresh(DESCRIBED),
        setup(DESCRIBED, method=method, teacher=briefly_trained(DESCRIBED.teacher)),
    )
    return only


def briefly_trained(described: Experiment) -> Classifier:
    state = fresh(described)
    for _ in train(state, setup(described)):
        pass
    return state.classifier


@pytest.mark.usefixtures("epoch")
def test_20_steps_have_the_losses_that_they_had() -> None:
    assert len(Recorded.totals) == len(LOSSES) == STEPS
    assert Recorded.totals == pytest.approx(LOSSES, rel=1e-5)


def test_the_epoch_ends_where_it_ended(epoch: Epoch) -> None:
    found = [epoch.loss, epoch.terms["cross_entropy"], epoch.terms["soft"], epoch.val_loss]
    assert found == pytest.approx([4.558114, 2.422831, 0.6081372, 1.892638], rel=1e-5)
