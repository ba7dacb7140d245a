from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse, seeds
from kdray.data import Split, to_unit
from kdray.machine.checked_file import Damaged, pack, unpack
from kdray.methods import (
    Batch,
    CrossEntropy,
    EpochViews,
    Losses,
    Method,
    Stage,
    Teacher,
    TeacherSource,
    TrainingStep,
)
from kdray.models import Classifier, Outputs
from kdray.perturbations import Noise
from kdray.robustness import Subject, measurements, score
from kdray.training import Diverged, Epoch, State, Training, loop, train
from kdray.training.loop import keep, training_labels
from kdray.trials.experiment import Experiment
from kdray.trials.task import epochs_of
from tests.small_trials import (
    description,
    digits,
    distillation,
    experiment,
    fresh,
    setup,
    teacher_of,
)

TIMES = ("seconds", "images_per_second")
GAUSSIAN = {"name": "gaussian", "sigma": 0.3}
FITNET = {"name": "fitnet", "hint_epochs": 2, "classifier_epochs": 2}
BY_CLASSIFIER = {**FITNET, "hint": "classifier"}


def epochs(
    state: State,
    described: Experiment,
    *,
    method: Method | None = None,
    teacher: Classifier | TeacherSource | None = None,
) -> Iterator[Epoch]:
    return train(state, setup(described, method=method, teacher=teacher))


class Seen(CrossEntropy):
    """Cross-entropy that notes what it is given."""

    batches: ClassVar[list[Batch]] = []
    losses_of: ClassVar[list[Losses]] = []
    training: ClassVar[list[bool]] = []

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        self.ask(step)
        self.batches.append(step.batch)
        self.training.extend(module.training for module in step.student.modules())
        self.losses_of.append(super().losses(stage, step._replace(teacher=None)))
        return self.losses_of[-1]


class Answering(Teacher):
    """Knows nothing, and tells ``note`` what it is asked."""

    def __init__(self, note: Callable[[Tensor, Tensor, float], None]) -> None:
        self._note = note

    def __call__(self, images: Tensor, labels: Tensor, *, temperature: float) -> Outputs:
        self._note(images, labels, temperature)
        return Outputs(torch.zeros(len(images), 10), (), torch.zeros(len(images), 0))


@pytest.fixture
def seen() -> Seen:
    for notes in (Seen.batches, Seen.losses_of, Seen.training):
        notes.clear()
    return Seen()


# The loop


def test_training_learns_digits() -> None:
    described = experiment(data={"name": "digits"}, training={"epochs": 5, "batch_size": 32})
    history = list(epochs(fresh(described), described))
    assert history[-1].val_accuracy > 0.9
    assert history[-1].loss < history[0].loss
    assert [entry.epoch for entry in history] == [1, 2, 3, 4, 5]
    assert {entry.stage for entry in history} == {"main"}


def test_the_student_is_in_train_mode_in_every_step_of_every_epoch(seen: Seen) -> None:
    described = experiment(model={"name": "mlp", "hidden": [16], "dropout": 0.5})
    for _ in epochs(fresh(described), described, method=seen):
        pass
    assert len(seen.batches) == 3 * 4
    assert all(seen.training)


def test_validation_is_in_eval_mode_and_on_the_validation_split() -> None:
    described = experiment(model={"name": "mlp", "hidden": [16], "dropout": 0.5})
    state, dataset = fresh(described), digits(described)
    for entry in epochs(state, described):
        correct, loss = score(state.classifier.eval(), dataset.val)
        assert (entry.val_accuracy, entry.val_loss) == (correct / len(dataset.val.labels), loss)


def test_the_first_step_is_the_optimisers_on_the_mean_loss_of_the_first_batch() -> None:
    described = experiment(
        training={
            "epochs": 1,
            "batch_size": 180,
            "optimizer": {"name": "sgd", "learning_rate": 0.5},
        }
    )
    state, reference, train_split = (
        fresh(described),
        fresh(described).classifier,
        digits(described).train,
    )
    functional.cross_entropy(
        reference.logits(to_unit(train_split.images)), train_split.labels
    ).backward()
    before = {
        name: parameter.detach().clone() for name, parameter in state.classifier.named_parameters()
    }
    list(epochs(state, described))
    for name, parameter in reference.named_parameters():
        assert parameter.grad is not None
        after = dict(state.classifier.named_parameters())[name]
        assert torch.allclose(after, before[name] - 0.5 * parameter.grad, atol=1e-6), name


def test_gradients_do_not_add_up_over_steps(seen: Seen) -> None:
    described = experiment(
        training={
            "epochs": 1,
            "batch_size": 60,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        }
    )
    state, reference = fresh(described), fresh(described).classifier
    list(epochs(state, described, method=seen))
    for batch in seen.batches:
        gradients = torch.autograd.grad(
            functional.cross_entropy(reference.logits(batch.images), batch.labels),
            tuple(reference.parameters()),
        )
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    for a, b in zip(state.classifier.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("longest", [0.01, 1000.0])
def test_a_gradient_is_scaled_down_to_the_length_that_it_may_have(longest: float) -> None:
    described = experiment(
        training={
            "epochs": 1,
            "batch_size": 180,
            "clip_grad_norm": longest,
            "optimizer": {"name": "sgd", "learning_rate": 0.5},
        }
    )
    state, split = fresh(described), digits(described).train
    reference = fresh(described).classifier
    functional.cross_entropy(reference.logits(to_unit(split.images)), split.labels).backward()
    gradients = [parameter.grad for parameter in reference.parameters()]
    length = torch.stack([each.square().sum() for each in gradients if each is not None]).sum()
    scale = min(1.0, longest / float(length.sqrt()))
    list(epochs(state, described))
    for new, old in zip(state.classifier.parameters(), reference.parameters(), strict=True):
        assert old.grad is not None
        assert torch.allclose(new, old - 0.5 * scale * old.grad, atol=1e-6)


def test_the_learning_rate_follows_the_schedule() -> None:
    described = experiment(
        training={
            "epochs": 4,
            "batch_size": 90,
            "optimizer": {"name": "adam", "learning_rate": 0.01},
            "schedule": {"name": "multi_step", "milestones": [1, 3], "gamma": 0.5},
        }
    )
    state, used = fresh(described), []
    for entry in epochs(state, described):
        used.append(state.optimizer.param_groups[0]["lr"])
        assert entry.learning_rate == used[-1]
    assert used == [0.01, 0.005, 0.005, 0.0025]


def test_an_epochs_numbers_are_means_over_examples_and_not_over_batches(seen: Seen) -> None:
    described = experiment(training={"epochs": 2, "batch_size": 170})  # and a batch of 10
    history = list(epochs(fresh(described), described, method=seen))
    sizes = torch.tensor([170.0, 10.0], dtype=torch.float64)
    for number, entry in enumerate(history):
        losses = seen.losses_of[2 * number : 2 * number + 2]
        batches = seen.batches[2 * number : 2 * number + 2]
        values = torch.stack([loss.total.detach().double() for loss in losses])
        assert entry.loss == pytest.approx(float((values * sizes).sum() / 180), rel=1e-12)
        assert entry.loss != pytest.approx(float(values.mean()), rel=1e-4)
        assert entry.terms == {"cross_entropy": entry.loss}
        predicted = torch.cat([loss.logits.argmax(1) for loss in losses])
        assert (
            entry.train_accuracy
            == int((predicted == torch.cat([batch.labels for batch in batches])).sum()) / 180
        )


def test_every_term_is_recorded_without_its_weight() -> None:
    described = distillation(method={"name": "kd", "alpha": 0.75, "temperature": 2.0})
    (entry, *_) = epochs(fresh(described), described, teacher=teacher_of(described))
    assert entry.terms.keys() == {"cross_entropy", "soft"}
    assert entry.loss == pytest.approx(
        0.25 * entry.terms["cross_entropy"] + 0.75 * 4 * entry.terms["soft"], rel=1e-6
    )
    assert entry.row().keys() == {
        "stage",
        "epoch",
        "learning_rate",
        "loss",
        "loss.cross_entropy",
        "loss.soft",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "images_per_second",
        "seconds",
    }


def test_a_loss_that_is_not_finite_ends_the_training_with_its_epoch() -> None:
    described = experiment(
        training={
            "epochs": 3,
            "batch_size": 50,
            "optimizer": {"name": "sgd", "learning_rate": 1e30},
        }
    )
    with pytest.raises(Diverged, match=r"^the loss is (nan|inf) in epoch 1 of 3$"):
        list(epochs(fresh(described), described))


def test_a_network_that_the_last_step_destroyed_has_diverged() -> None:
    described = experiment(
        training={
            "epochs": 1,
            "batch_size": 180,
            "optimizer": {"name": "sgd", "learning_rate": 1e30},
        }
    )
    with pytest.raises(Diverged, match=r"^the validation loss is (nan|inf) in epoch 1 of 1$"):
        list(epochs(fresh(described), described))


# The teacher


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp", "hidden": [16], "dropout": 0.5},
        {"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.5},
    ],
)
def test_a_teacher_stays_as_it_is(model: dict[str, Any]) -> None:
    described = distillation(
        teacher=description(model=model), training={"epochs": 2, "batch_size": 90}
    )
    classifier = teacher_of(described).train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    for _ in epochs(fresh(described), described, teacher=classifier):
        assert not any(module.training for module in classifier.modules())
    assert all(
        torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items()
    )
    assert all(
        parameter.grad is None and not parameter.requires_grad
        for parameter in classifier.parameters()
    )


def test_the_teacher_is_asked_about_the_clean_batch(seen: Seen) -> None:
    described = distillation(
        noise={"input": GAUSSIAN}, data={"name": "digits", "examples": 300, "augment": "crop"}
    )
    asked: list[Tensor] = []

    class Source:
        def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
            del counters, views
            return Answering(lambda images, _labels, _temperature: asked.append(images.clone()))

    teacher = Source()

    list(epochs(fresh(described), described, method=seen, teacher=teacher))
    noiseless = distillation(data={"name": "digits", "examples": 300, "augment": "crop"})
    noisy_batches = list(seen.batches)
    seen.batches.clear()
    list(epochs(fresh(noiseless), noiseless, method=seen, teacher=teacher))
    for images, noisy, clean in zip(asked[:12], noisy_batches, seen.batches, strict=True):
        assert torch.equal(images, noisy.clean)
        assert torch.equal(images, clean.images)  # noise changes neither order nor augmentation
        assert not torch.equal(noisy.images, noisy.clean)


def test_the_teacher_is_told_the_corrupted_labels_and_the_methods_temperature_of_every_epoch() -> (
    None
):
    noise = {"labels": {"name": "uniform", "rate": 0.4}}
    described = distillation(
        noise=noise,
        method={"name": "kd", "temperature": 2.5},
        training={"epochs": 2, "batch_size": 180},
    )
    told: list[tuple[tuple[int, ...], Tensor, float]] = []

    class Source:
        def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
            del views
            return Answering(
                lambda _images, labels, temperature: told.append(
                    (counters, labels.clone(), temperature)
                )
            )

    list(epochs(fresh(described), described, teacher=Source()))
    assert [(counters, temperature) for counters, _, temperature in told] == [
        ((0,), 2.5),
        ((1,), 2.5),
    ]
    for epoch, (_, labels, _) in enumerate(told):
        order = torch.randperm(180, generator=seeds.generator(described.seed, "data_order", epoch))
        expected = training_labels(digits(described), 10, described.noise, described.seed, (epoch,))
        assert torch.equal(labels, expected[order])
        assert not torch.equal(labels, digits(described).train.labels[order])


def test_how_a_teacher_is_asked_changes_neither_the_students_images_nor_its_dropout() -> None:
    """Comparisons are paired: with alpha 0, a student of a teacher with draws of its own is one of
    a plain teacher."""
    losses = []
    for supervision in (
        {},
        {"dropout": "active", "noise": [{"name": "signal_dependent", "sigma": 0.5}]},
    ):
        described = distillation(
            model={"name": "mlp", "hidden": [16], "dropout": 0.3},
            method={"name": "kd", "alpha": 0.0},
            teacher=description(model={"name": "mlp", "hidden": [16], "dropout": 0.3}),
            noise={"input": GAUSSIAN},
            supervision=supervision,
        )
        history = list(epochs(fresh(described), described, teacher=teacher_of(described)))
        losses.append([(entry.loss, entry.val_loss) for entry in history])
    assert losses[0] == losses[1]


# Stages


def staged(described: Experiment) -> tuple[State, list[Epoch], list[torch.optim.Optimizer]]:
    """The training from start to end, with the optimiser of every epoch."""
    state = fresh(described, teacher_of(described))
    history, optimizers = [], []
    for entry in epochs(state, described, teacher=teacher_of(described)):
        history.append(entry)
        optimizers.append(state.optimizer)
    return state, history, optimizers


STAGED = {
    "epochs": 3,
    "batch_size": 60,
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "schedule": {"name": "multi_step", "milestones": [1], "gamma": 0.5},
}


def test_stages_follow_each_other_with_epochs_from_1_and_their_own_terms() -> None:
    _, history, _ = staged(distillation(method=BY_CLASSIFIER, training=STAGED))
    assert [(entry.stage, entry.epoch, list(entry.terms)) for entry in history] == [
        ("classifier", 1, ["hint_classifier"]),
        ("classifier", 2, ["hint_classifier"]),
        ("hint", 1, ["hint"]),
        ("hint", 2, ["hint"]),
        *(("main", epoch, ["cross_entropy", "soft"]) for epoch in (1, 2, 3)),
    ]


def test_the_schedule_begins_again_in_every_stage() -> None:
    _, history, _ = staged(distillation(method=BY_CLASSIFIER, training=STAGED))
    assert [entry.learning_rate for entry in history] == [0.1, 0.05, 0.1, 0.05, 0.1, 0.05, 0.05]


def test_every_stage_has_an_optimiser_of_its_own_that_remembers_nothing() -> None:
    _, _, optimizers = staged(distillation(method=BY_CLASSIFIER, training=STAGED))
    stages = [optimizers[:2], optimizers[2:4], optimizers[4:]]
    assert all(each is stage[0] for stage in stages for each in stage)
    assert len({id(stage[0]) for stage in stages}) == 3
    # Momentum of what a stage taught: one of each of the classifier, of the first hidden layer and
    # the regressor, of all.
    assert [len(stage[0].state_dict()["state"]) for stage in stages] == [2, 4, 4]


def test_what_a_stage_does_not_teach_stays_as_it_is() -> None:
    described = distillation(
        method=BY_CLASSIFIER, training={**STAGED, "optimizer": {"name": "sgd", "weight_decay": 0.1}}
    )
    teacher, seen = teacher_of(described), []
    state = fresh(described, teacher)
    seen.append({name: tensor.clone() for name, tensor in tensors(state).items()})
    for _ in epochs(state, described, teacher=teacher):
        seen.append({name: tensor.clone() for name, tensor in tensors(state).items()})
    groups = ("model.network.hidden", "model.network.head", "helper.regressor", "helper.classifier")

    def changed(before: int, after: int) -> list[str]:
        learned = [name for name in seen[before] if name.startswith(groups)]
        moved = [name for name in learned if not torch.equal(seen[before][name], seen[after][name])]
        return [group for group in groups if any(name.startswith(group) for name in moved)]

    assert changed(0, 2) == ["helper.classifier"]
    assert changed(2, 4) == ["model.network.hidden", "helper.regressor"]
    assert changed(4, 7) == ["model.network.hidden", "model.network.head"]


def test_the_main_stage_draws_what_a_training_without_earlier_stages_draws(seen: Seen) -> None:
    noise = {"input": GAUSSIAN, "labels": {"name": "uniform", "rate": 0.4}}

    class Staged(Seen):
        def stages(self, epochs: int) -> tuple[Stage, ...]:
            return Stage("hint", 2), Stage("main", epochs)

    described = experiment(noise=noise, training={"epochs": 2, "batch_size": 90})
    list(epochs(fresh(described), described, method=Staged()))
    earlier, main = list(seen.batches[:4]), list(seen.batches[4:])
    seen.batches.clear()
    list(epochs(fresh(described), described, method=seen))
    for one, other in zip(main, seen.batches, strict=True):
        assert all(torch.equal(*parts) for parts in zip(one[:3], other[:3], strict=True))
        assert one.at == other.at
    for one, other in zip(earlier, main, strict=True):
        assert not torch.equal(one.clean, other.clean)
        assert not torch.equal(one.images - one.clean, other.images - other.clean)


# Noise


def test_input_noise_is_fresh_in_every_batch_and_epoch_and_only_in_the_input(seen: Seen) -> None:
    described = experiment(noise={"input": GAUSSIAN})
    list(epochs(fresh(described), described, method=seen))
    noise = torch.cat([batch.images - batch.clean for batch in seen.batches])
    assert float(noise.std()) == pytest.approx(0.3, rel=0.02)
    assert noise.flatten(1).round(decimals=4).unique(dim=0).shape[0] == 3 * 180
    levels = torch.cat([batch.clean for batch in seen.batches]).unique()
    assert torch.equal(levels, to_unit(digits(described).train.images.unique()))


def test_validation_sees_no_noise() -> None:
    described = experiment(noise={"input": {"name": "gaussian", "sigma": 5.0}})
    state = fresh(described)
    *_, entry = epochs(state, described)
    assert entry.val_loss == score(state.classifier.eval(), digits(described).val)[1]


@pytest.mark.parametrize(("resample", "same"), [("epoch", False), ("never", True)])
def test_corrupted_labels_are_drawn_each_epoch_or_once(resample: str, same: bool) -> None:
    described = experiment(noise={"labels": {"name": "uniform", "rate": 0.4, "resample": resample}})
    dataset = digits(described)
    drawn = [
        training_labels(dataset, 10, described.noise, described.seed, (epoch,))
        for epoch in range(3)
    ]
    assert torch.equal(drawn[0], drawn[1]) is torch.equal(drawn[1], drawn[2]) is same
    for labels in drawn:
        assert 0.25 < float((labels != dataset.train.labels).float().mean()) < 0.55


@pytest.mark.parametrize(
    "labels",
    [
        {"name": "uniform", "rate": 0.9},
        {"name": "symmetric", "rate": 0.9},
        {"name": "pair_flip", "rate": 0.5},
        {"name": "asymmetric", "rate": 0.5, "pairs": [[9, 2], [8, 1], [0, 4]]},
    ],
    ids=lambda labels: labels["name"],
)
def test_no_noise_brings_omitted_classes_back(labels: dict[str, Any]) -> None:
    described = experiment(
        data={"name": "digits", "examples": 300, "omit_classes": [1, 8]}, noise={"labels": labels}
    )
    dataset = digits(described)
    drawn = torch.cat(
        [training_labels(dataset, 10, described.noise, 0, (epoch,)) for epoch in range(5)]
    )
    assert drawn.unique().tolist() == [0, 2, 3, 4, 5, 6, 7, 9]


def test_the_teacher_sees_the_noise_where_it_is_part_of_the_training_set(seen: Seen) -> None:
    described = distillation(noise={"input": GAUSSIAN, "teacher_sees": "noisy"})
    list(
        epochs(
            fresh(described, teacher_of(described)),
            described,
            method=seen,
            teacher=teacher_of(described),
        )
    )
    levels = to_unit(digits(described).train.images).unique()
    for batch in seen.batches:
        assert torch.equal(batch.clean, batch.images)
        assert not torch.isin(batch.clean, levels).all()


def test_classes_are_named_by_their_own_numbers_where_others_are_omitted() -> None:
    """Class 9 becomes class 2: not the third class that is left, which is 3."""
    labels = {"name": "asymmetric", "rate": 1.0, "pairs": [[9, 2]]}
    described = experiment(
        data={"name": "digits", "examples": 300, "omit_classes": [1, 8]}, noise={"labels": labels}
    )
    before = digits(described).train.labels
    after = training_labels(digits(described), 10, described.noise, 0, (0,))
    assert torch.equal(after, torch.where(before == 9, 2, before))


@pytest.mark.parametrize(
    ("model", "sizes"), [({"name": "resnet", "depth": 10}, [180]), ({"name": "mlp"}, [179, 1])]
)
def test_a_last_image_that_batch_norm_cannot_be_trained_on_is_part_of_the_batch_before_it(
    model: dict[str, Any], sizes: list[int], seen: Seen
) -> None:
    described = experiment(model=model, training={"epochs": 1, "batch_size": 179})
    list(epochs(fresh(described), described, method=seen))
    assert [len(batch.labels) for batch in seen.batches] == sizes


def test_label_noise_follows_the_seed() -> None:
    noise, dataset = (
        parse(Noise, {"labels": {"name": "uniform", "rate": 0.4}}),
        digits(experiment()),
    )
    assert torch.equal(
        training_labels(dataset, 10, noise, 0, (1,)), training_labels(dataset, 10, noise, 0, (1,))
    )
    assert not torch.equal(
        training_labels(dataset, 10, noise, 0, (1,)), training_labels(dataset, 10, noise, 1, (1,))
    )
    assert training_labels(dataset, 10, Noise(), 0, (1,)) is dataset.train.labels


def test_the_student_is_trained_on_the_corrupted_labels_of_its_images(seen: Seen) -> None:
    described = experiment(
        noise={"labels": {"name": "uniform", "rate": 0.4}}, training={"epochs": 2, "batch_size": 50}
    )
    list(epochs(fresh(described), described, method=seen))
    for epoch in range(2):
        order = torch.randperm(180, generator=seeds.generator(described.seed, "data_order", epoch))
        expected = training_labels(
            digits(described), 10, described.noise, described.seed, (epoch,)
        )[order]
        found = seen.batches[4 * epoch : 4 * epoch + 4]
        assert torch.equal(torch.cat([batch.labels for batch in found]), expected)
        assert torch.equal(
            torch.cat([batch.clean for batch in found]),
            to_unit(digits(described).train.images[order]),
        )


def test_seeds_differ_in_initialisation_order_and_noise(seen: Seen) -> None:
    first = []
    for seed in (0, 1):
        described = experiment(seed=seed, noise={"input": GAUSSIAN})
        first.append(fresh(described).classifier.network.head.weight)  # type: ignore[union-attr]
        list(epochs(fresh(described), described, method=seen))
    assert not torch.equal(*first)  # type: ignore[arg-type]
    one, other = seen.batches[0], seen.batches[12]
    assert not torch.equal(one.clean, other.clean)
    assert not torch.equal(one.images - one.clean, other.images - other.clean)


def test_every_point_of_a_sweep_sees_the_same_images_and_noise_for_a_seed(seen: Seen) -> None:
    one = experiment(noise={"input": GAUSSIAN})
    other = experiment(
        noise={"input": {"name": "gaussian", "sigma": 0.6}}, model={"name": "mlp", "hidden": [4]}
    )
    for described in (one, other):
        list(epochs(fresh(described), described, method=seen))
    for a, b in zip(seen.batches[:12], seen.batches[12:], strict=True):
        assert torch.equal(a.clean, b.clean)
        assert torch.allclose(2 * (a.images - a.clean), b.images - b.clean, atol=1e-5)


# What is looked at meanwhile


LOOK = {
    "suite": [
        {"name": "clean", "split": "val"},
        {
            "name": "pgd",
            "label": "pgd2",
            "steps": 2,
            "epsilon": 0.05,
            "split": "val",
            "examples": 20,
        },
    ]
}


def test_looking_changes_no_number_of_the_training() -> None:
    alike = {
        "model": {"name": "mlp", "hidden": [16], "dropout": 0.3, "input_sigma": 0.1},
        "noise": {"input": GAUSSIAN},
        "teacher": description(model={"name": "mlp", "hidden": [16], "dropout": 0.3}),
        "supervision": {"dropout": "active"},
    }
    found = []
    for looks in (
        {},
        {"monitor": LOOK},
        {"gradients": True},
        {"monitor": {**LOOK, "every": 2}, "gradients": True},
    ):
        described = distillation(
            training={"epochs": 3, "batch_size": 50, "keep": "best_validation", **looks}, **alike
        )
        state = fresh(described, teacher_of(described))
        history = comparable(list(epochs(state, described, teacher=teacher_of(described))))
        measured = [len(entry.pop("measured")) for entry in history]
        found.append((history, tensors(state), measured))
    for history, weights, _ in found[1:]:
        assert history == found[0][0]
        assert_equal(weights, found[0][1])
    look, layers = 2 + 4 + 10, 2  # pgd counted in two ways, and clean with a row for each class
    assert [measured for *_, measured in found] == [
        [0, 0, 0],
        [look] * 3,
        [layers] * 3,
        [layers, layers + look, layers],
    ]


def test_a_look_measures_the_network_as_it_stands_on_the_validation_split() -> None:
    described = experiment(
        data={"name": "digits", "examples": 300, "omit_classes": [3]},
        training={"epochs": 2, "batch_size": 50, "monitor": LOOK},
    )
    state = fresh(described)
    for entry in epochs(state, described):
        assert described.training.monitor is not None
        subject = Subject(state.classifier.eval(), digits(described).val, (3,))
        expected = [
            (m.metric, m.value, m.examples)
            for each in described.training.monitor.suite
            for m in measurements(each, subject)
        ]
        assert [
            (row["metric"], row["value"], row["examples"]) for row in entry.measured
        ] == expected
        assert {row["epoch"] for row in entry.measured} == {entry.epoch}
        by_metric = {
            row["metric"]: row["value"] for row in entry.measured if row["label"] == "clean"
        }
        assert (by_metric["accuracy"], by_metric["loss"]) == (entry.val_accuracy, entry.val_loss)
        assert {"seen_accuracy", "omitted_accuracy"} <= by_metric.keys()
        assert all(parameter.requires_grad for parameter in state.classifier.parameters())


@pytest.mark.parametrize(
    ("every", "looked"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (3, [3]), (5, [5])]
)
def test_looks_are_taken_every_n_epochs_of_the_main_stage(every: int, looked: list[int]) -> None:
    monitor = {"every": every, "suite": [{"name": "clean", "split": "val"}]}
    described = distillation(
        method=FITNET, training={"epochs": 5, "batch_size": 90, "monitor": monitor}
    )
    _, history, _ = staged(described)
    assert [entry.epoch for entry in history if entry.measured] == looked
    assert not any(entry.measured for entry in history if entry.stage == "hint")


def test_gradients_are_the_mean_magnitudes_of_the_steps_of_the_epoch(seen: Seen) -> None:
    described = experiment(
        training={
            "epochs": 2,
            "batch_size": 90,
            "gradients": True,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        }
    )
    history = list(epochs(fresh(described), described, method=seen))
    reference = fresh(described).classifier
    magnitudes: list[dict[str, float]] = []
    for batch in seen.batches:
        named = dict(reference.network.named_parameters())
        loss = functional.cross_entropy(reference.logits(batch.images), batch.labels)
        gradients = dict(zip(named, torch.autograd.grad(loss, tuple(named.values())), strict=True))
        magnitudes.append(
            {name: float(gradient.abs().mean()) for name, gradient in gradients.items()}
        )
        with torch.no_grad():
            for name, parameter in named.items():
                parameter -= 0.1 * gradients[name]
    for number, entry in enumerate(history):
        steps = magnitudes[2 * number : 2 * number + 2]
        found = {row["layer"]: row["value"] for row in entry.measured}
        assert found == {
            layer: pytest.approx(sum(step[f"{layer}.weight"] for step in steps) / 2, rel=1e-4)
            for layer in ("hidden.0.0", "head")
        }
        assert {
            (row["metric"], row["split"], row["examples"], row["epoch"]) for row in entry.measured
        } == {("mean_gradient", "train", 180, number + 1)}


# What is kept


def progress(state: State, training: Training, accuracies: list[float]) -> None:
    for number, accuracy in enumerate(accuracies, start=1):
        with torch.no_grad():
            state.classifier.network.head.bias.fill_(number)  # type: ignore[union-attr,operator]
        state.history.append(
            Epoch(
                stage="main",
                epoch=number,
                learning_rate=0.1,
                loss=1.0,
                terms={},
                train_accuracy=0.5,
                val_loss=1.0,
                val_accuracy=accuracy,
                images_per_second=1.0,
                seconds=1.0,
            )
        )
        keep(state, training)


@pytest.mark.parametrize(
    ("kept", "accuracies", "epoch"),
    [
        ("last", [0.9, 0.5, 0.1], 3),
        ("best_validation", [0.5, 0.7, 0.7, 0.6], 2),
        ("best_validation", [0.9, 0.8], 1),
        ("best_validation", [0.1, 0.2, 0.3], 3),
        ("best_validation", [0.0, 0.0], 1),
    ],
)
def test_the_last_weights_are_kept_or_those_of_the_first_best_epoch(
    kept: str, accuracies: list[float], epoch: int
) -> None:
    state = fresh(experiment())
    progress(state, parse(Training, {"epochs": 9, "keep": kept}), accuracies)
    assert state.kept_epoch == epoch
    assert state.kept()["network.head.bias"].unique().tolist() == [epoch]


def test_what_earlier_epochs_are_kept_by_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], loop.number_to_keep_by
    monkeypatch.setattr(loop, "number_to_keep_by", lambda *of: read.append(of) or real(*of))
    training = parse(Training, {"epochs": 40, "keep": "best_validation"})
    progress(fresh(experiment()), training, [number % 7 / 10 for number in range(40)])
    assert len(read) <= 2 * 40


def test_the_best_epoch_is_one_of_the_main_stage() -> None:
    described = distillation(method=FITNET, training={**STAGED, "keep": "best_validation"})
    state, history, _ = staged(described)
    state.history, state.kept_epoch = [*state.history[:2]], 0
    for entry in state.history:
        object.__setattr__(entry, "val_accuracy", 1.0)
    progress(state, described.training, [0.5, 0.7, 0.7])
    assert state.kept_epoch == 2
    assert state.kept()["network.head.bias"].unique().tolist() == [2]
    assert [entry.stage for entry in history[:2]] == ["hint", "hint"]


def test_nothing_is_kept_of_earlier_stages() -> None:
    described = distillation(method=FITNET, training={**STAGED, "keep": "best_validation"})
    state, teacher = fresh(described, teacher_of(described)), teacher_of(described)
    for entry in epochs(state, described, teacher=teacher):
        assert (state.best is None, state.kept_epoch == 0) == (entry.stage == "hint",) * 2
    main = [entry.val_accuracy for entry in state.history if entry.stage == "main"]
    assert state.kept_epoch == 1 + main.index(max(main))


def test_how_long_a_training_took_is_the_sum_over_its_epochs() -> None:
    state = fresh(experiment())
    progress(state, experiment().training, [0.1, 0.2])
    assert state.seconds == 2.0


# Going on after an interruption


RESUMED = {
    "sgd with momentum": experiment(training={"epochs": 4, "batch_size": 50}),
    "sgd without momentum": experiment(
        training={"epochs": 4, "batch_size": 50, "optimizer": {"name": "sgd", "momentum": 0.0}}
    ),
    "adam and a schedule": experiment(
        training={
            "epochs": 4,
            "batch_size": 50,
            "optimizer": {"name": "adam", "learning_rate": 0.01, "weight_decay": 1e-3},
            "schedule": {"name": "cosine"},
        }
    ),
    "adamw and clipping": experiment(
        training={
            "epochs": 3,
            "batch_size": 50,
            "clip_grad_norm": 0.5,
            "optimizer": {"name": "adamw", "learning_rate": 0.01},
        }
    ),
    "dropout": experiment(
        model={"name": "mlp", "hidden": [16, 16], "dropout": 0.3},
        training={"epochs": 4, "batch_size": 50},
    ),
    "batch norm and dropout": experiment(
        model={"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.2},
        training={"epochs": 3, "batch_size": 50},
    ),
    "all noise and augmentation": experiment(
        data={"name": "digits", "examples": 300, "augment": "crop_flip"},
        noise={"input": GAUSSIAN, "labels": {"name": "uniform", "rate": 0.3}},
        training={"epochs": 4, "batch_size": 50},
    ),
    "labels corrupted once": experiment(
        noise={"labels": {"name": "uniform", "rate": 0.3, "resample": "never"}},
        training={"epochs": 3, "batch_size": 50},
    ),
    "best weights": experiment(
        training={
            "epochs": 6,
            "batch_size": 50,
            "keep": "best_validation",
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
        }
    ),
    "an exponential average with batch norm": experiment(
        data={"name": "digits", "examples": 300, "augment": "crop_flip"},
        model={"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.2},
        noise={"input": GAUSSIAN},
        training={"epochs": 3, "batch_size": 50, "average": {"name": "ema", "decay": 0.8}},
    ),
    "the best of stochastic averages": experiment(
        training={
            "epochs": 6,
            "batch_size": 50,
            "keep": "best_validation",
            "average": {"name": "swa", "after": 0.5, "every": 2},
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
        }
    ),
    "distillation": distillation(noise={"input": GAUSSIAN}),
    "hints and the best weights": distillation(
        method=FITNET,
        noise={"input": GAUSSIAN, "labels": {"name": "uniform", "rate": 0.3}},
        training={
            "epochs": 4,
            "batch_size": 50,
            "keep": "best_validation",
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
        },
    ),
    "hints by a classifier and adam": distillation(
        model={"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.2},
        method=BY_CLASSIFIER,
        teacher=description(model={"name": "wide_resnet", "depth": 10, "width": 1}),
        training={
            "epochs": 2,
            "batch_size": 50,
            "schedule": {"name": "cosine"},
            "optimizer": {"name": "adam", "learning_rate": 0.05, "convolution_scale": 0.5},
        },
    ),
    "adversarial with a fickle teacher": distillation(
        teacher=description(model={"name": "mlp", "hidden": [16], "dropout": 0.4}),
        model={"name": "mlp", "hidden": [16], "dropout": 0.2, "input_sigma": 0.1},
        supervision={
            "dropout": "active",
            "smoothing": {"samples": 2, "sigma": 0.1},
            "noise": [
                {"name": "signal_dependent", "sigma": 0.3},
                {"name": "swap", "probability": 0.5, "threshold": 0.5},
            ],
        },
        method={
            "name": "adversarial",
            "attack": {"epsilon": 0.1, "step_size": 0.1, "steps": 2, "samples": 2},
            "clean": {"name": "kd"},
            "perturbed": {"name": "kd", "alpha": 0.25},
        },
    ),
    "weight noise and batch statistics while crafting": experiment(
        model={"name": "wide_resnet", "depth": 10, "width": 1, "weight_noise": {"name": "cni"}},
        method={
            "name": "adversarial",
            "attack": {"epsilon": 0.1, "step_size": 0.1, "steps": 1, "batch_norm": "batch"},
        },
    ),
    "weights perturbed after a warm-up": experiment(
        method={
            "name": "trades",
            "attack": {"loss": "kl_self", "epsilon": 0.1, "step_size": 0.1, "steps": 1},
            "weight_perturbation": {"gamma": 0.05, "warmup": 2},
        }
    ),
    "a memory of embeddings": distillation(
        method={"name": "crd", "negatives": 30, "dimensions": 8}
    ),
    "transforms, mixed labels and an average": distillation(
        data={"name": "digits", "examples": 300, "augment": "flip"},
        teacher=description(data={"name": "digits", "examples": 300, "augment": "flip"}),
        noise={"input": GAUSSIAN},
        training={
            "epochs": 3,
            "batch_size": 50,
            "transforms": [{"name": "trivial_augment"}, {"name": "cutmix"}],
            "average": {"name": "ema", "decay": 0.8},
        },
    ),
    "a virtual teacher": experiment(
        supervision={"virtual": {}, "noise": [{"name": "signal_dependent", "sigma": 0.3}]},
        method={"name": "kd"},
        noise={"labels": {"name": "uniform", "rate": 0.3}},
    ),
    "the best average by a monitor": experiment(
        training={
            "epochs": 5,
            "batch_size": 50,
            "keep": {"best": "weak.accuracy"},
            "average": {"name": "ema", "decay": 0.5},
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
            "monitor": {
                "every": 2,
                "suite": [{"label": "weak", "name": "fgsm", "split": "val", "examples": 20}],
            },
        }
    ),
    "a monitor and gradients": experiment(
        training={
            "epochs": 3,
            "batch_size": 50,
            "gradients": True,
            "monitor": {
                "every": 2,
                "suite": [{"name": "pgd", "steps": 2, "split": "val", "examples": 20}],
            },
        }
    ),
}


def comparable(history: list[Epoch]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in asdict(entry).items() if name not in TIMES}
        for entry in history
    ]


def tensors(state: State) -> dict[str, Tensor]:
    """Everything in a checkpoint but the history: weights, buffers, the optimiser's state, the best
    weights."""
    return unpack(state.pack({}))[0]


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("described", RESUMED.values(), ids=list(RESUMED))
def test_a_training_goes_on_bit_by_bit_from_any_epoch(described: Experiment) -> None:
    teacher = None if described.teacher is None else teacher_of(described)
    whole, last = fresh(described, teacher), epochs_of(described)
    checkpoints = [
        whole.pack({"epoch": len(whole.history), "started_at": "then"})
        for _ in epochs(whole, described, teacher=teacher)
    ]
    assert len(checkpoints) == last
    assert (whole.kept_epoch < described.training.epochs) is (described.training.keep != "last"), (
        "choose an earlier best"
    )
    for done, checkpoint in enumerate(checkpoints, start=1):
        torch.manual_seed(done)
        torch.rand(done)  # what a process has drawn before must not matter
        resumed = fresh(described, teacher)
        assert resumed.unpack(checkpoint) == {"epoch": done, "started_at": "then"}
        assert comparable(resumed.history) == comparable(whole.history[:done])
        assert len(list(epochs(resumed, described, teacher=teacher))) == last - done
        assert comparable(resumed.history) == comparable(whole.history)
        assert resumed.kept_epoch == whole.kept_epoch
        assert_equal(tensors(resumed), tensors(whole))
        assert_equal(resumed.kept(), whole.kept())


class Memory(nn.Module):
    """The latest logits of every training example."""

    def __init__(self, examples: int, classes: int) -> None:
        super().__init__()
        self.logits: Tensor
        self.register_buffer("logits", torch.zeros(examples, classes))


class Consistency(CrossEntropy):
    """Cross-entropy, and the distance from the answers of the epoch before: state of a method that
    no gradient teaches."""

    def helper(self, student: Classifier, teacher: Teacher | None, train: Split) -> nn.Module:
        del student, teacher
        return Memory(len(train.labels), 10)

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        found = super().losses(stage, step)
        assert isinstance(step.helper, Memory)
        assert step.batch.positions is not None
        earlier = step.helper.logits[step.batch.positions]
        step.helper.logits[step.batch.positions] = found.logits.detach()
        return found._replace(total=found.total + functional.mse_loss(found.logits, earlier))


def test_what_a_method_remembers_of_each_example_goes_on_bit_by_bit() -> None:
    described = experiment(training={"epochs": 3, "batch_size": 50}).model_copy(
        update={"method": Consistency()}
    )
    whole = fresh(described)
    _, second = (whole.pack({}) for _ in zip(range(2), epochs(whole, described), strict=False))
    remembered = tensors(whole)["helper.logits"].clone()
    assert remembered.any(dim=1).all(), "an example that was never seen"
    list(epochs(whole, described))
    assert not torch.equal(tensors(whole)["helper.logits"], remembered)
    resumed = fresh(described)
    resumed.unpack(second)
    assert torch.equal(tensors(resumed)["helper.logits"], remembered)
    assert len(list(epochs(resumed, described))) == 1
    assert_equal(tensors(resumed), tensors(whole))
    plain = fresh(experiment(training={"epochs": 3, "batch_size": 50}))
    list(epochs(plain, experiment(training={"epochs": 3, "batch_size": 50})))
    assert plain.history[-1].loss != whole.history[-1].loss


def test_a_batch_says_which_examples_it_holds() -> None:
    described = experiment(training={"epochs": 1, "batch_size": 50})
    Seen.batches.clear()
    list(epochs(fresh(described), described, method=Seen()))
    train_split = digits(described).train
    for batch in Seen.batches:
        assert batch.positions is not None
        assert torch.equal(batch.clean, to_unit(train_split.images[batch.positions]))
        assert torch.equal(batch.labels, train_split.labels[batch.positions])


def test_a_checkpoint_is_not_changed_by_the_training_that_goes_on() -> None:
    described = RESUMED["best weights"]
    state, again = fresh(described), fresh(described)
    steps = epochs(state, described)
    next(steps)
    again.unpack(state.pack({}))
    before = {name: tensor.clone() for name, tensor in tensors(state).items()}
    next(steps)
    assert not torch.equal(
        tensors(state)["model.network.head.weight"], before["model.network.head.weight"]
    )
    assert_equal(tensors(again), before)


@pytest.mark.parametrize(
    "other",
    [
        experiment(model={"name": "mlp", "hidden": [17]}),
        experiment(model={"name": "wide_resnet", "depth": 10, "width": 1}),
    ],
)
def test_the_checkpoint_of_another_model_is_damaged(other: Experiment) -> None:
    with pytest.raises(Damaged):
        fresh(experiment()).unpack(fresh(other).pack({}))


def test_a_checkpoint_without_history_is_damaged() -> None:
    state = fresh(experiment())
    tensors = {f"model.{name}": tensor for name, tensor in state.classifier.state_dict().items()}
    with pytest.raises(Damaged):
        state.unpack(pack(tensors, {}))


def test_a_weights_file_in_the_place_of_a_checkpoint_is_damaged() -> None:
    state = fresh(experiment())
    with pytest.raises(Damaged):
        state.unpack(pack(state.classifier.state_dict(), {"trial_id": "ab"}))


@pytest.mark.parametrize(
    "written",
    [
        {"epochs": 0},
        {"epochs": 3, "batch_size": 0},
        {"epochs": 3, "keep": "first"},
        {},
        {"epochs": 3, "clip_grad_norm": 0},
    ],
)
def test_a_training_without_an_epoch_or_an_example_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        parse(Training, written)
