"""1. Right: the same bits again, the same numbers as on the CPU, and steps that wait for nothing.

    python -m tests.gpu.check.right [--device cpu]

Students of a few methods and networks, trained for two epochs and measured, each several times:
again, stopped and resumed, within a part of the GPU, replayed as a CUDA graph. A difference is a
tensor of the weights of which a bit differs, or a column of the tables of which a value does,
columns for people and times left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from kdray.core import tag_of
from kdray.data import to_unit
from kdray.methods import KD, TRADES, Adversarial, GradientMatching, Method
from kdray.results import Store
from kdray.training.compute import ComputeOptions
from kdray.trials.experiment import Experiment
from kdray.trials.grant import DEFAULT_GRANT, Grant
from kdray.trials.trained import TrainedModels
from tests.benchmarks.figures import Figure
from tests.gpu.check.part import each_of, left_out, run
from tests.gpu.check.trials import NOWHERE, Stored, differences, student_in, with_teacher
from tests.gpu.check.waits import Waits
from tests.gpu.launches import teachable
from tests.gpu.trainings import described

TRAINING = {"epochs": 2, "batch_size": 16}
NETWORKS: dict[str, dict[str, Any]] = {
    "wide_resnet": {"name": "wide_resnet", "depth": 10, "dropout": 0.2},
    "cifar_resnet": {"name": "cifar_resnet", "depth": 8},
}
CLOSE = 1e-4
"""Of the largest logit: how far one of float32 may be from the CPU's."""


class Way(NamedTuple):
    """In which a student is trained once more."""

    name: str
    grant: Grant = DEFAULT_GRANT
    stops: bool = False
    needs_cuda: bool = False


WAYS = (
    Way("trained again"),
    Way("stopped and resumed", stops=True),
    Way("within a quarter of the GPU", Grant(gpu=0.25), needs_cuda=True),
    Way("as a CUDA graph", Grant(compute=ComputeOptions(cuda_graph=True)), needs_cuda=True),
)


def ways(method: Method) -> list[Way]:
    """Those that are of any consequence for ``method``."""
    return [way for way in WAYS if method.is_replayable or not way.grant.compute.cuda_graph]


class Case(NamedTuple):
    """What is trained."""

    method: Method
    model: dict[str, Any]

    @classmethod
    def of(cls, method: Method, network: str | None = None) -> Case:
        """``method`` on a network of that name, or on the first that it can teach."""
        return cls(method, teachable(method) if network is None else NETWORKS[network])

    @property
    def name(self) -> str:
        return f"{tag_of(type(self.method))} on {self.model['name']}"

    def experiment(self, **training: Any) -> Experiment:
        return described(self.model, self.method, training={**TRAINING, **training})


def cases(device: torch.device) -> list[Case]:
    """What is trained; on a CPU only a part of it."""
    few = [Case.of(KD(), "wide_resnet"), Case.of(GradientMatching())]
    if device.type == "cpu":
        return few
    return [*few, Case.of(Adversarial(), "cifar_resnet"), Case.of(TRADES(), "wide_resnet")]


def again(case: Case, device: torch.device) -> Iterator[Figure]:
    """The differences of each of :data:`WAYS` from the first time, and those of the logits on the
    CPU."""
    experiment = case.experiment()
    with TemporaryDirectory() as folder:
        start = with_teacher(experiment, Path(folder) / "start", device)
        train = partial(_trained, experiment, start, device)
        first = train(Way("first"))
        for way in ways(case.method):
            what = f"{case.name}, {way.name}"
            if way.needs_cuda and device.type != "cuda":
                yield left_out(what)
                continue
            found = differences(first, train(way))
            yield Figure(what, (float(len(found)),), "differences", "<= 0", _some(found))
        yield beside_cpu(case.name, experiment, Store(start.with_name("first")), device)


def _trained(experiment: Experiment, start: Path, device: torch.device, way: Way) -> Stored:
    """What the student leaves beside the trained teacher, in a copy of the folder ``start``."""
    place = shutil.copytree(start, start.with_name(way.name))
    return student_in(place, experiment, device, way.grant, stops=way.stops)


def beside_cpu(name: str, experiment: Experiment, store: Store, device: torch.device) -> Figure:
    """How far the logits of a trained network are from those of the same on the CPU."""
    what = f"{name}, logits beside the CPU's"
    if device.type == "cpu":
        return left_out(what)
    gap = logits_gap(experiment, store, device, torch.device("cpu"))
    return Figure(what, (gap,), "of the largest", f"<= {CLOSE:g}")


def logits_gap(
    experiment: Experiment, store: Store, one: torch.device, other: torch.device
) -> float:
    """The largest difference between the logits of a trained network on two devices, as a part of
    the largest logit."""
    images = to_unit(experiment.data.load(NOWHERE).test.images)
    logits = []
    for device in (one, other):
        classifier = TrainedModels(store, NOWHERE, device).load(experiment)
        with torch.no_grad():
            logits.append(classifier.logits(images.to(device)).cpu())
    here, there = logits
    return float((here - there).abs().max() / there.abs().max())


def waits(case: Case, device: torch.device) -> Iterator[Figure]:
    """The waits of the step that has the most, of those whose kernels are loaded."""
    what = f"{case.name}, waits of a step"
    if device.type != "cuda":
        yield left_out(what)
        return
    most = max(waits_of_steps(case, device), key=len)
    yield Figure(what, (float(len(most)),), "waits", "<= 0", _some(most))


def waits_of_steps(case: Case, device: torch.device) -> list[list[str]]:
    """The waits of each step of an epoch but the first."""
    experiment = case.experiment(epochs=1)
    with TemporaryDirectory() as folder:
        place = with_teacher(experiment, Path(folder), device)
        with Waits() as counted:
            student_in(place, experiment, device)
    return counted.of_steps()


def _some(found: list[str]) -> str:
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def figures(device: torch.device) -> Iterator[Figure]:
    measures: dict[str, Callable[[], Iterator[Figure]]] = {}
    for case in cases(device):
        measures[case.name] = partial(again, case, device)
        measures[f"{case.name}, waits"] = partial(waits, case, device)
    yield from each_of(measures)


if __name__ == "__main__":
    run(figures)
