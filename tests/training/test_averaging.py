from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdray.core import InputError, Value, canonical_json, parse, seeds
from kdray.models import Classifier
from kdray.robustness import score
from kdray.training import State, Training, train
from kdray.training.averaging import EMA, SWA, AveragedClassifier
from kdray.training.loop import student_images
from kdray.trials.experiment import Experiment
from tests.small_trials import (
    description,
    digits,
    distillation,
    experiment,
    fresh,
    setup,
    teacher_of,
)

WIDE = {"name": "wide_resnet", "depth": 10, "width": 1}
EMA_09 = {"name": "ema", "decay": 0.9}


def averaged(average: dict[str, Any] | None, **fields: Any) -> Experiment:
    training = {"epochs": 4, "batch_size": 90, "average": average}
    return experiment(**{"training": training, **fields})


def weights(classifier: Classifier) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in classifier.named_parameters()}


def path_of(described: Experiment) -> tuple[State, list[dict[str, Tensor]]]:
    """The state after a training, and its weights after every step."""
    state: State = fresh(described)
    path: list[dict[str, Tensor]] = []
    kind = type(described.training.optimizer)
    build = kind.build

    def hooked(optimizer: Any, module: nn.Module) -> torch.optim.Optimizer:
        built = build(optimizer, module)
        built.register_step_post_hook(lambda *_: path.append(weights(state.classifier)))
        return built

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "build", hooked)
        for _ in train(state, setup(described)):
            pass
    return state, path


def close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-6), name


def mean(path: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([each[name] for each in path]).mean(0) for name in path[0]}


def test_ema_is_the_weighted_sum_of_the_weights_after_every_step() -> None:
    state, path = path_of(averaged(EMA_09))
    assert len(path) == 4 * 2
    shares = [0.9**7, *(0.1 * 0.9 ** (7 - step) for step in range(1, 8))]
    assert sum(shares) == pytest.approx(1)
    expected = {
        name: sum((share * each[name] for share, each in zip(shares, path, strict=True)))
        for name in path[0]
    }
    close(weights(state.measured), expected)  # type: ignore[arg-type]
    close(weights(state.classifier), path[-1])


@pytest.mark.parametrize(
    ("average", "epochs"),
    [
        ({"after": 0.5}, [3, 4]),
        ({"after": 0.0}, [1, 2, 3, 4]),
        ({"after": 0.0, "every": 2}, [2, 4]),
        ({"after": 0.25, "every": 2}, [3]),
        ({"after": 0.75}, [4]),
    ],
)
def test_swa_is_the_mean_of_the_weights_after_its_epochs(
    average: dict[str, Any], epochs: list[int]
) -> None:
    state, path = path_of(averaged({"name": "swa", **average}))
    close(weights(state.measured), mean([path[2 * epoch - 1] for epoch in epochs]))


@pytest.mark.parametrize("epochs", [1, 3, 10, 100])
def test_a_fraction_of_the_epochs_is_not_one_less_by_rounding(epochs: int) -> None:
    for done in range(epochs):
        assert SWA(after=done / epochs).begins(epochs) == done


def test_averaging_changes_nothing_of_the_training_itself() -> None:
    found = []
    for average in (None, EMA_09, {"name": "swa"}):
        described = averaged(average, model={**WIDE, "dropout": 0.2})
        state = fresh(described)
        losses = [epoch.loss for epoch in train(state, setup(described))]
        found.append((losses, state.classifier.state_dict()))
    for losses, after in found[1:]:
        assert losses == found[0][0]
        assert all(torch.equal(after[name], tensor) for name, tensor in found[0][1].items())


def test_what_is_kept_and_measured_after_an_epoch_is_the_average() -> None:
    described = averaged({"name": "swa", "after": 0.5}, model=WIDE)
    state, split = fresh(described), digits(described).val
    for epoch in train(state, setup(described)):
        shown = state.classifier if epoch.epoch <= 2 else state.averaged.classifier  # type: ignore[union-attr]
        assert state.measured is shown
        correct, loss = score(shown.eval(), split)
        assert (epoch.val_accuracy, epoch.val_loss) == (correct / len(split.labels), loss)
    kept = state.kept()
    assert all(torch.equal(kept[name], each) for name, each in shown.state_dict().items())
    assert not torch.equal(kept["network.head.weight"], state.classifier.network.head.weight)  # type: ignore[union-attr,arg-type]


def test_the_monitor_looks_at_the_average() -> None:
    monitor = {"suite": [{"name": "clean", "split": "val"}]}
    training = {"epochs": 3, "batch_size": 50, "average": EMA_09, "monitor": monitor}
    described = experiment(training=training)
    for epoch in train(fresh(described), setup(described)):
        (accuracy,) = (row["value"] for row in epoch.measured if row["metric"] == "accuracy")
        assert accuracy == epoch.val_accuracy


def test_batch_norm_has_the_mean_statistics_of_the_batches_that_a_student_sees() -> None:
    described = averaged(
        EMA_09,
        model=WIDE,
        data={"name": "digits", "examples": 300, "augment": "crop"},
        noise={"input": {"name": "gaussian", "sigma": 0.2}},
    )
    state = fresh(described)
    for _ in train(state, setup(described)):
        pass
    plain = deepcopy(state.measured).train()
    inputs: dict[str, list[Tensor]] = {}
    for name, module in plain.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(
                lambda _, given, name=name: inputs.setdefault(name, []).append(given[0])
            )
    with torch.no_grad():
        batches = list(student_images(setup(described), 3))
        for batch in batches:
            plain(batch)
    assert [len(batch) for batch in batches] == [90, 90]
    assert float(torch.cat(batches).min()) < 0, "no input noise"
    modules = dict(state.measured.named_modules())
    for name, given in inputs.items():
        norm = modules[name]
        means = torch.stack([each.mean((0, 2, 3)) for each in given]).mean(0)
        variances = torch.stack([each.var((0, 2, 3)) for each in given]).mean(0)
        assert torch.allclose(norm.running_mean, means, atol=1e-5), name  # type: ignore[arg-type]
        assert torch.allclose(norm.running_var, variances, atol=1e-5), name  # type: ignore[arg-type]
        assert norm.momentum == 0.1
    assert inputs


def test_what_a_student_sees_for_the_statistics_follows_seed_and_epoch() -> None:
    described = averaged(EMA_09, data={"name": "digits", "examples": 300, "augment": "crop"})
    one = torch.cat(list(student_images(setup(described), 1)))
    torch.rand(3)
    assert torch.equal(one, torch.cat(list(student_images(setup(described), 1))))
    assert not torch.equal(one, torch.cat(list(student_images(setup(described), 2))))


def test_earlier_stages_are_not_in_the_average() -> None:
    training = {"epochs": 2, "batch_size": 90, "average": {"name": "ema", "decay": 0.5}}
    described = distillation(
        method={"name": "fitnet", "hint_epochs": 2}, teacher=description(), training=training
    )
    teacher = teacher_of(described)
    state = fresh(described, teacher)
    for epoch in train(state, setup(described, teacher=teacher)):
        assert (state.measured is state.classifier) is (epoch.stage == "hint")
    assert state.averaged is not None
    assert state.averaged.count == 2 * 2


@pytest.mark.parametrize("average", [EMA_09, {"name": "swa", "after": 0.0}])
def test_what_is_drawn_for_the_statistics_is_drawn_for_nothing_else(
    average: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    described = distillation(
        method={"name": "fitnet", "hint_epochs": 2},
        teacher=description(model=WIDE),
        model=WIDE,
        training={
            "epochs": 2,
            "batch_size": 90,
            "average": average,
            "transforms": [{"name": "random_erasing"}],
        },
    )
    teacher, drawn, real = teacher_of(described), [], seeds.stream_seed
    monkeypatch.setattr(seeds, "stream_seed", lambda *parts: drawn.append(parts) or real(*parts))
    for _ in train(fresh(described, teacher), setup(described, teacher=teacher)):
        pass
    distinct = [parts for parts in drawn if parts[1] != "evaluation"]
    assert len(set(distinct)) == len(distinct)


@pytest.mark.parametrize("average", [EMA(), SWA()])
def test_another_stream_for_the_statistics_is_another_identity(average: Value) -> None:
    assert '"version":2' in canonical_json(average)


def test_a_network_of_another_library_is_averaged_with_stages_of_its_own() -> None:
    model = {"name": "torchvision", "architecture": "mobilenet_v2", "stem": "small"}
    stages = ["features.1", "features.7"]
    described = experiment(model={**model, "stages": stages})
    classifier = fresh(described).classifier.eval()
    copy = AveragedClassifier(classifier, EMA()).classifier
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.mul_(0)
        images = torch.rand(2, 1, 8, 8)
        before, zero = classifier(images), copy(images)
    assert all(stage.any() for stage in before.stages)
    assert not any(stage.any() for stage in zero.stages)


@pytest.mark.parametrize(
    ("average", "said"),
    [
        ({"name": "ema", "decay": 1}, "decay"),
        ({"name": "ema", "decay": -0.1}, "decay"),
        ({"name": "swa", "after": 1}, "after"),
        ({"name": "swa", "every": 0}, "every"),
        (
            {"name": "swa", "after": 0.5, "every": 3},
            r"^average.every: 3 is more than the 2 of 4 epochs that average.after: 0.5 leaves: "
            r"no weights would be averaged$",
        ),
        ({"name": "mean"}, r"average: unknown name 'mean' \(allowed: ema, swa\)"),
    ],
)
def test_what_averages_nothing_is_refused(average: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(Training, {"epochs": 4, "average": average})
