"""Clean accuracy and loss count every image of a split once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from kdray.data import Split, to_unit
from kdray.robustness import Clean, Subject
from kdray.robustness.base import BLOCK, blocks
from kdray.robustness.clean import BINS, brier, calibration_error
from kdray.testing.samples import digits, trained_on_digits
from tests.tensors import linear_classifier


def test_accuracy_is_the_share_of_images_given_their_label_and_loss_their_mean_cross_entropy() -> (
    None
):
    split = digits().test
    assert len(split.labels) % BLOCK, "the last block is a short one"
    logits = trained_on_digits().logits(to_unit(split.images))
    accuracy, loss, *_ = Clean().measure(Subject(trained_on_digits(), split))
    assert accuracy.correct == int((logits.argmax(1) == split.labels).sum())
    assert accuracy.value == accuracy.correct / len(split.labels)
    assert loss.value == pytest.approx(
        float(functional.cross_entropy(logits, split.labels)), rel=1e-6
    )
    assert (accuracy.metric, loss.metric) == ("accuracy", "loss")


def test_a_classifier_that_always_says_seven_is_right_about_the_sevens() -> None:
    split = digits().test
    says_seven = linear_classifier(torch.zeros(10, 64), torch.eye(10)[7])
    accuracy, *_ = Clean().measure(
        Subject(says_seven, Split(split.images.reshape(-1, 1, 1, 64), split.labels))
    )
    assert accuracy.correct == int((split.labels == 7).sum())


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1])
def test_blocks_hold_every_image_once_and_in_order(count: int) -> None:
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    listed = list(blocks(Split(images, torch.arange(count))))
    assert [block.number for block in listed] == list(range(len(listed)))
    assert torch.equal(torch.cat([block.labels for block in listed]), torch.arange(count))
    assert torch.equal(torch.cat([block.images for block in listed]), images / 255)


def test_classes_are_counted_apart_and_together_are_all_images() -> None:
    split = digits().test
    total, *rest = Clean().measure(Subject(trained_on_digits(), split))
    classes = [m for m in rest if m.metric == "class_accuracy"]
    right = trained_on_digits().logits(to_unit(split.images)).argmax(1) == split.labels
    assert [m.class_ for m in classes] == list(range(10))
    assert [m.correct for m in classes] == [
        int(right[split.labels == label].sum()) for label in range(10)
    ]
    assert sum(m.examples for m in classes) == total.examples
    assert [m.row()["class"] for m in classes] == list(range(10))


def numpy_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    total = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(
                (predicted == labels)[inside].mean() - confidence[inside].mean()
            )
    return total


def test_calibration_error_and_brier_score_are_those_of_numpy() -> None:
    logits = 3 * torch.randn(500, 7, dtype=torch.float64)
    labels, probabilities = torch.randint(0, 7, (500,)), logits.softmax(1)
    assert calibration_error(probabilities, labels) == pytest.approx(
        numpy_calibration_error(probabilities.numpy(), labels.numpy()), rel=1e-9
    )
    wanted = np.eye(7)[labels.numpy()]
    assert brier(probabilities, labels) == pytest.approx(
        float(((probabilities.numpy() - wanted) ** 2).sum(1).mean()), rel=1e-9
    )


def test_too_sure_in_one_bin_and_not_sure_enough_in_another_do_not_make_up_for_each_other() -> None:
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1]], dtype=torch.float64)
    assert calibration_error(probabilities, torch.tensor([0, 1])) == pytest.approx((0.4 + 0.9) / 2)


def test_who_is_sure_and_right_is_calibrated_and_who_is_sure_and_wrong_is_not() -> None:
    sure, labels = torch.eye(4, dtype=torch.float64), torch.arange(4)
    assert (calibration_error(sure, labels), brier(sure, labels)) == (0, 0)
    assert (calibration_error(sure, labels.flip(0)), brier(sure, labels.flip(0))) == (1, 2)
    assert calibration_error(torch.full((4, 4), 0.25, dtype=torch.float64), labels) == 0


# Classes that were left out of training


OMITTED = (3, 7)


def test_without_omitted_classes_there_is_one_accuracy() -> None:
    measured = Clean().measure(Subject(trained_on_digits(), digits().test))
    assert {m.metric for m in measured} == {"accuracy", "loss", "ece", "brier", "class_accuracy"}


def test_images_of_omitted_classes_and_of_the_others_are_counted_apart() -> None:
    split = digits().test
    accuracy, *_, seen, omitted = Clean().measure(Subject(trained_on_digits(), split, OMITTED))
    right = trained_on_digits().logits(to_unit(split.images)).argmax(1) == split.labels
    left_out = (split.labels == 3) | (split.labels == 7)
    assert (seen.metric, omitted.metric) == ("seen_accuracy", "omitted_accuracy")
    assert (seen.correct, seen.examples) == (int((right & ~left_out).sum()), int((~left_out).sum()))
    assert (omitted.correct, omitted.examples) == (
        int((right & left_out).sum()),
        int(left_out.sum()),
    )
    assert seen.value != omitted.value
    weighted = (seen.value * seen.examples + omitted.value * omitted.examples) / accuracy.examples
    assert weighted == pytest.approx(accuracy.value, rel=1e-12)


def test_a_classifier_that_never_says_an_omitted_class_has_no_omitted_accuracy_right() -> None:
    split = digits().test
    flat = Split(split.images.reshape(-1, 1, 1, 64), split.labels)
    says_seven = linear_classifier(torch.zeros(10, 64), torch.eye(10)[7])
    by_metric = {m.metric: m.value for m in Clean().measure(Subject(says_seven, flat, (3, 4)))}
    assert by_metric["omitted_accuracy"] == 0
    assert by_metric["seen_accuracy"] > by_metric["accuracy"] > 0


@pytest.mark.parametrize(
    ("labels", "metric"), [((3, 7), "omitted_accuracy"), ((1, 2), "seen_accuracy")]
)
def test_of_a_part_without_an_image_there_is_no_accuracy(
    labels: tuple[int, int], metric: str
) -> None:
    chosen = torch.isin(digits().test.labels, torch.tensor(labels)).nonzero().flatten()
    measured = list(
        Clean().measure(Subject(trained_on_digits(), digits().test.take(chosen), OMITTED))
    )
    assert [
        m.metric for m in measured if m.metric.endswith(("seen_accuracy", "omitted_accuracy"))
    ] == [metric]
    assert measured[-1].value == measured[0].value
