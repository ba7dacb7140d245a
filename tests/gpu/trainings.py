"""Trainings of two steps on the pretended GPU, of any member of the unions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdray.core import canonical, parse, tag_of
from kdray.methods import Method
from kdray.models import Model
from kdray.sweep.execution.rehearsal import brief, context_of_its_own, train_a_little
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.trials.experiment import Experiment
from kdray.trials.task import Task
from tests.contracts.members import instance
from tests.gpu.pretend import pretending
from tests.gpu.record import Record
from tests.gpu.tensor import GPU

BATCH = 8
STEPS = 2
NOWHERE = Path("/nowhere")
SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [8, 8]},
    "resnet": {"depth": 10},
    "wide_resnet": {"depth": 10},
}
"""Fields of models that are large as they come."""
CNN = {"name": "cnn", "channels": [4, 4], "hidden": 8}


def described(model: dict[str, Any], method: Method, **fields: Any) -> Experiment:
    """A training of two steps; its teacher, if the method asks one, is such a network too."""
    data = {"name": "digits", "examples": 120}
    if model["name"] == "maxout":
        data |= {"resize": 32, "channels": 3}
    training = {"epochs": 1, "batch_size": BATCH, **fields.pop("training", {})}
    asks = {"teacher": {"data": data, "model": model, "training": {"epochs": 1}}}
    return Experiment.parse(
        {
            "data": data,
            "model": model,
            "method": canonical(brief(method)),
            "training": training,
            **(asks if method.asks_teacher else {}),
            **fields,
        }
    )


def network(kind: type[Model]) -> dict[str, Any]:
    """A small network of this kind."""
    return {**canonical(instance(kind)), **SMALL.get(tag_of(kind) or "", {})}


def trained(
    experiment: Experiment, steps: int = STEPS, kernels: ComputeOptions = DEFAULT_COMPUTE
) -> Record:
    """What so many steps of ``experiment`` ask of the GPU."""
    written = {"role": "student", "experiment": canonical(experiment), "evaluations": []}
    with (
        pretending() as record,
        context_of_its_own(parse(Task, written), NOWHERE, GPU, kernels) as context,
    ):
        whole = context.dataset(experiment)
        dataset = whole._replace(train=whole.train.first(BATCH * steps), val=whole.val.first(BATCH))
        train_a_little(experiment, dataset, context)
    return record
