"""A black square, wholly inside, anywhere with the same probability."""

from __future__ import annotations

import pytest
import torch

from kdray.perturbations.occlusion import occlude
from kdray.testing.samples import draws

WHITE = torch.ones(4000, 3, 6, 5)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_every_image_has_one_square_of_that_side_in_all_channels(side: int) -> None:
    black = occlude(side, WHITE, draws()) == 0
    assert (black.flatten(1).sum(1) == 3 * side * side).all()
    assert (black.any(3).sum(2) == side).all()
    assert (black.any(2).sum(2) == side).all()
    assert torch.equal(black[:, 0], black[:, 1])


def test_every_place_is_equally_likely() -> None:
    corners = (occlude(2, WHITE, draws()) == 0)[:, 0].flatten(1).int().argmax(1)
    places, counts = corners.unique(return_counts=True)
    assert len(places) == 5 * 4
    assert counts.float().std() < 2.5 * (4000 / 20) ** 0.5


def test_a_side_of_0_is_the_image_and_the_whole_side_is_black() -> None:
    assert torch.equal(occlude(0, WHITE, draws()), WHITE)
    assert not occlude(5, torch.ones(2, 1, 5, 5), draws()).any()


def test_the_rest_of_the_image_and_the_argument_stay_as_they_are() -> None:
    images = torch.rand(20, 1, 8, 8, generator=draws()) + 0.1
    before = images.clone()
    covered = occlude(3, images, draws())
    assert torch.equal(images, before)
    assert torch.equal(covered[covered != 0], images[covered != 0])


def test_a_square_that_does_not_fit_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^a square of 6 x 6 pixels does not fit into images of 6 x 5$"
    ):
        occlude(6, WHITE, draws())
