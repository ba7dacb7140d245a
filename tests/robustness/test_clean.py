"""Clean accuracy and loss count every image of a split once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdray.data import Split, to_unit
from kdray.robustness import Clean, Subject
from kdray.robustness.base import BLOCK, blocks
from tests.tensors import digits, linear_classifier, trained_on_digits


def test_accuracy_is_the_share_of_images_given_their_label_and_loss_their_mean_cross_entropy() -> None:
    split = digits().test
    assert len(split.labels) % BLOCK, "the last block is a short one"
    logits = trained_on_digits().logits(to_unit(split.images))
    accuracy, loss = Clean().measure(Subject(trained_on_digits(), split))
    assert accuracy.correct == int((logits.argmax(1) == split.labels).sum())
    assert accuracy.value == accuracy.correct / len(split.labels)
    assert loss.value == pytest.approx(float(functional.cross_entropy(logits, split.labels)), rel=1e-6)
    assert (accuracy.metric, loss.metric) == ("accuracy", "loss")


def test_a_classifier_that_always_says_seven_is_right_about_the_sevens() -> None:
    split = digits().test
    says_seven = linear_classifier(torch.zeros(10, 64), torch.eye(10)[7])
    accuracy, _ = Clean().measure(Subject(says_seven, Split(split.images.reshape(-1, 1, 1, 64), split.labels)))
    assert accuracy.correct == int((split.labels == 7).sum())


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1])
def test_blocks_hold_every_image_once_and_in_order(count: int) -> None:
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    listed = list(blocks(Split(images, torch.arange(count))))
    assert [block.number for block in listed] == list(range(len(listed)))
    assert torch.equal(torch.cat([block.labels for block in listed]), torch.arange(count))
    assert torch.equal(torch.cat([block.images for block in listed]), images / 255)


# Classes that were left out of training


OMITTED = (3, 7)


def test_without_omitted_classes_there_is_one_accuracy() -> None:
    measured = Clean().measure(Subject(trained_on_digits(), digits().test))
    assert [m.metric for m in measured] == ["accuracy", "loss"]


def test_images_of_omitted_classes_and_of_the_others_are_counted_apart() -> None:
    split = digits().test
    accuracy, _, seen, omitted = Clean().measure(Subject(trained_on_digits(), split, OMITTED))
    right = trained_on_digits().logits(to_unit(split.images)).argmax(1) == split.labels
    left_out = (split.labels == 3) | (split.labels == 7)
    assert (seen.metric, omitted.metric) == ("seen_accuracy", "omitted_accuracy")
    assert (seen.correct, seen.examples) == (int((right & ~left_out).sum()), int((~left_out).sum()))
    assert (omitted.correct, omitted.examples) == (int((right & left_out).sum()), int(left_out.sum()))
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


@pytest.mark.parametrize(("labels", "metric"), [((3, 7), "omitted_accuracy"), ((1, 2), "seen_accuracy")])
def test_of_a_part_without_an_image_there_is_no_accuracy(labels: tuple[int, int], metric: str) -> None:
    chosen = torch.isin(digits().test.labels, torch.tensor(labels)).nonzero().flatten()
    measured = list(Clean().measure(Subject(trained_on_digits(), digits().test.take(chosen), OMITTED)))
    assert [m.metric for m in measured] == ["accuracy", "loss", metric]
    assert measured[2].value == measured[0].value
