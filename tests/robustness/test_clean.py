"""Clean accuracy and loss count every image of a split once."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdray.data import Split, to_unit
from kdray.robustness import Clean
from kdray.robustness.base import BLOCK, blocks
from tests.tensors import digits, linear_classifier, trained_on_digits


def test_accuracy_is_the_share_of_images_given_their_label_and_loss_their_mean_cross_entropy() -> None:
    split = digits().test
    assert len(split.labels) % BLOCK, "the last block is a short one"
    logits = trained_on_digits().logits(to_unit(split.images))
    accuracy, loss = Clean().measure(trained_on_digits(), split)
    assert accuracy.correct == int((logits.argmax(1) == split.labels).sum())
    assert accuracy.value == accuracy.correct / len(split.labels)
    assert loss.value == pytest.approx(float(functional.cross_entropy(logits, split.labels)), rel=1e-6)
    assert (accuracy.metric, loss.metric) == ("accuracy", "loss")


def test_a_classifier_that_always_says_seven_is_right_about_the_sevens() -> None:
    split = digits().test
    says_seven = linear_classifier(torch.zeros(10, 64), torch.eye(10)[7])
    accuracy, _ = Clean().measure(says_seven, Split(split.images.reshape(-1, 1, 1, 64), split.labels))
    assert accuracy.correct == int((split.labels == 7).sum())


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1])
def test_blocks_hold_every_image_once_and_in_order(count: int) -> None:
    images = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    listed = list(blocks(Split(images, torch.arange(count))))
    assert [block.number for block in listed] == list(range(len(listed)))
    assert torch.equal(torch.cat([block.labels for block in listed]), torch.arange(count))
    assert torch.equal(torch.cat([block.images for block in listed]), images / 255)
