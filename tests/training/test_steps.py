"""Steps that are replayed as a graph give the same bits as those that are computed operation by
operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from kdray.core import parse, value_types
from kdray.methods import CRD, IAD, AnyMethod, CrossEntropy, Losses, Method, TrainingStep
from kdray.testing.steps import fresh_state, setup_of
from kdray.training import State, loop, train
from kdray.training.compute import ComputeOptions
from kdray.training.steps import NotTheSame, ReplayedSteps
from tests.small_trials import CPU, distillation, fresh, setup, teacher_of
from tests.training.replay import OperationGraph

METHODS = {kind.__name__: kind() for kind in value_types(AnyMethod) if issubclass(kind, Method)}
ATTACK = {"epsilon": 0.1, "step_size": 0.05, "steps": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "RSLAD": {
        "attack": {**ATTACK, "loss": "kl_teacher_clean"},
        "clean": {"name": "kd"},
        "perturbed": {"name": "kd"},
        "teacher_sees": "clean",
    },
    "in train mode": {"attack": {**ATTACK, "batch_norm": "batch", "norm": "l2"}},
}


def trained(method: Method, graphs: list[OperationGraph] | None) -> State:
    """After two epochs of 40 examples in batches of 7, as graphs if there is a list for them."""
    setup, state = setup_of(method), fresh_state(method)
    setup = replace(
        setup,
        training=setup.training.model_copy(update={"batch_size": 7}),
        cuda_graph=graphs is not None,
    )
    for _ in train(state, setup):
        pass
    return state


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[OperationGraph]:
    """The graphs that were recorded."""
    made: list[OperationGraph] = []

    class Recorded(ReplayedSteps):
        def __init__(self, method: Method, stage: str, precision: Any, learned: nn.Module) -> None:
            def graph() -> OperationGraph:
                made.append(OperationGraph(learned))
                return made[-1]

            super().__init__(method, stage, precision, learned, graph)

    monkeypatch.setattr(loop, "ReplayedSteps", Recorded)
    return made


def assert_same(method: Method, graphs: list[OperationGraph]) -> None:
    expected, replayed = trained(method, None), trained(method, graphs)
    for name, tensor in expected.classifier.state_dict().items():
        assert torch.equal(replayed.classifier.state_dict()[name], tensor), name
    for first, second in zip(expected.history, replayed.history, strict=True):
        assert (first.loss, first.terms, first.val_loss) == (
            second.loss,
            second.terms,
            second.val_loss,
        )
    # Two epochs of five whole batches, of which the first three are not replayed.
    assert [graph.replays for graph in graphs[-1:]] == [7]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.is_replayable])
def test_a_replayed_training_has_the_same_bits(name: str, graphs: list[OperationGraph]) -> None:
    assert_same(METHODS[name], graphs)


@pytest.mark.parametrize("name", SETTINGS)
def test_so_has_one_with_an_attack_that_asks_the_teacher_or_draws(
    name: str, graphs: list[OperationGraph]
) -> None:
    method = parse(AnyMethod, {"name": "adversarial", **SETTINGS[name]})
    assert method.is_replayable
    assert_same(method, graphs)


@pytest.mark.parametrize(
    "model",
    [
        {"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.2},
        {"name": "cifar_resnet", "depth": 8, "weight_noise": {"name": "pni"}},
    ],
)
def test_so_has_a_network_that_draws_and_keeps_statistics(
    model: dict[str, Any], graphs: list[OperationGraph]
) -> None:
    described = distillation(
        model=model,
        data={"name": "digits", "examples": 120, "augment": "crop_flip"},
        training={"epochs": 2, "batch_size": 12, "precision": "bfloat16"},
        noise={"input": {"name": "gaussian", "sigma": 0.1}},
    )
    weights = []
    for cuda_graph in (False, True):
        teacher = teacher_of(described)
        state = fresh(described, teacher)
        for _ in train(state, replace(setup(described, teacher=teacher), cuda_graph=cuda_graph)):
            pass
        weights.append(state.classifier.state_dict())
    assert graphs[0].replays > 4
    for name, tensor in weights[0].items():
        assert torch.equal(weights[1][name], tensor), name


def test_methods_whose_steps_differ_are_not_replayed() -> None:
    kd = {"name": "kd"}
    others: list[dict[str, Any]] = [
        {"name": "adversarial", "attack": {"loss": "kl_teacher"}},
        {"name": "adversarial", "perturbed": kd},
        {"name": "adversarial", "indirect_gradient": {}},
        {"name": "trades", "weight_perturbation": {}},
    ]
    for method in (CRD(), IAD(), *(parse(AnyMethod, each) for each in others)):
        assert not method.is_replayable
        assert not ComputeOptions(cuda_graph=True).replays(torch.device("cuda"), method)


def test_only_a_gpu_replays_and_only_if_asked() -> None:
    asked = ComputeOptions(cuda_graph=True)
    assert asked.replays(torch.device("cuda"), CrossEntropy())
    assert not asked.replays(CPU, CrossEntropy())
    assert not ComputeOptions().replays(torch.device("cuda"), CrossEntropy())


def test_who_wrongly_says_that_steps_are_the_same_is_told(graphs: list[OperationGraph]) -> None:
    class Wrong(type(parse(AnyMethod, {"name": "adversarial"}))):  # type: ignore[misc]
        @property
        def is_replayable(self) -> bool:
            return True

    with pytest.raises(NotTheSame, match="asks the teacher about images that are made in the step"):
        trained(Wrong(attack=ATTACK, perturbed={"name": "kd"}), graphs)


def test_a_host_number_is_that_of_the_recording(graphs: list[OperationGraph]) -> None:
    """The double notices what a GPU would not do again."""

    class Counting(CrossEntropy):
        same_operations: ClassVar[bool] = True
        calls: ClassVar[list[int]] = []

        def losses(self, stage: str, step: TrainingStep) -> Losses:
            self.calls.append(1)
            found = super().losses(stage, step)
            return found._replace(total=found.total * len(self.calls))

    trained(Counting(), graphs)
    assert len(Counting.calls) == 3 + 1 + 2  # warm-up, recording, the last batch of both epochs
