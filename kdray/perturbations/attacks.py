"""Projected gradient descent on images: noisy_collaboration, eqs. 4 and 5 (Kurakin et al. 2016,
Madry et al. 2017).

    x₀ = x + U(ball of radius ε),   x_{n+1} = Π(x_n + step · direction(∇_x J(x_n, y)))

Π projects onto the ball around x and then onto [0, 1]; the direction is the gradient's sign for
linf and the normalised gradient for l2. The final iterate is the adversarial example.
:func:`iterates` serves training, evaluation and transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor
from torch.nn import functional

Norm = Literal["linf", "l2"]
Loss = Literal["cross_entropy", "margin"]
Images = Float32[Tensor, "B C H W"]
Labels = Int64[Tensor, "B"]
Model = Callable[[Images], Float32[Tensor, "B K"]]
Rise = Callable[[Images, Float32[Tensor, "B K"]], Float32[Tensor, "B"]]
"""What an attack makes rise, for each image, of its points and of the model's answer to them."""
_TINY = 1e-12  # a gradient of exactly zero has no direction: its step is zero, not NaN


def in_ball(images: Images, norm: Norm, epsilon: float, draws: torch.Generator) -> Images:
    """For each image an offset drawn uniformly from the ball of radius ``epsilon``."""
    if norm == "linf":
        return torch.empty_like(images).uniform_(-epsilon, epsilon, generator=draws)
    direction = torch.randn(images.shape, generator=draws, device=images.device)
    radius = torch.rand(len(images), generator=draws, device=images.device) ** (
        1 / images[0].numel()
    )
    return direction * (epsilon * radius / _length(direction)).view(-1, 1, 1, 1)


def random_start(images: Images, norm: Norm, epsilon: float, draws: torch.Generator) -> Images:
    """A point drawn uniformly from the ball of radius ``epsilon`` around each image, clipped to [0,
    1]."""
    return (images + in_ball(images, norm, epsilon, draws)).clamp(0, 1)


class Slope(NamedTuple):
    """What a model says at some points, and where its loss rises."""

    gradient: Images
    """Of each image's own loss for its pixels; of a model that draws, averaged over passes."""
    logits: Float32[Tensor, "B K"]
    """Of the first pass."""


def slope(
    logits: Model,
    points: Images,
    labels: Labels,
    *,
    loss: Loss | Rise = "cross_entropy",
    samples: int = 1,
) -> Slope:
    """The gradient of ``loss`` at ``points``.

    For ``logits`` that draw it is the mean over ``samples`` calls (EPGD: in expectation over the
    noise), up to its length.
    """
    points = points.detach().requires_grad_(True)

    def once() -> Slope:
        answer = logits(points)
        rising = losses(answer, labels, loss) if isinstance(loss, str) else loss(points, answer)
        # The sum, not the mean: each image has its own direction.
        (gradient,) = torch.autograd.grad(rising.sum(), points)
        return Slope(gradient, answer.detach())

    gradient, first = once()
    for _ in range(samples - 1):
        gradient = gradient + once().gradient
    return Slope(gradient, first)


def losses(logits: Float32[Tensor, "B K"], labels: Labels, loss: Loss) -> Float32[Tensor, "B"]:
    """What an attack makes rise, for each image: the cross-entropy of the label, or the margin by
    which the highest other logit is above the label's (Carlini, Wagner 2017, arXiv:1608.04644,
    their f without bound)."""
    if loss == "cross_entropy":
        return functional.cross_entropy(logits, labels, reduction="none")
    of_label = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - of_label[:, 0]


class Ball:
    """Where the iterates of an attack may lie: at most ``epsilon`` (absolute, in pixel units) from
    ``images``, in [0, 1]."""

    def __init__(self, images: Images, norm: Norm, epsilon: float) -> None:
        self._images, self._norm, self._epsilon = images, norm, epsilon
        # project() in fewer passes over memory: the bounds of the ball and of [0, 1] are one box
        # for all steps.
        self._box = (
            ((images - epsilon).clamp_(min=0), (images + epsilon).clamp_(max=1))
            if norm == "linf"
            else None
        )

    def step(self, points: Images, gradient: Images, step_size: float) -> Images:
        """The ``points`` moved by ``step_size`` inside the ball, to where the loss with
        ``gradient`` is higher."""
        if self._box is not None:
            return torch.add(points, gradient.sign(), alpha=step_size).clamp_(*self._box)
        return project(
            points + step_size * _steepest(gradient), self._images, self._norm, self._epsilon
        )


class Iterate:
    """The points that an attack has reached after ``number`` steps, one for each image."""

    def __init__(
        self, number: int, points: Images, labels: Labels, look: Callable[[], Slope] | None
    ) -> None:
        self.number, self.points, self.labels = number, points, labels
        self.left_out: Bool[Tensor, "B"] | None = None
        self._look = look

    @cached_property
    def slope(self) -> Slope:
        """The gradient that the next step follows, computed when it is first asked for; the last
        iterate has none."""
        assert self._look is not None
        return self._look()

    @property
    def is_last(self) -> bool:
        return self._look is None

    def leave_out(self, images: Bool[Tensor, "B"]) -> None:
        """Take no further step with ``images``: the next iterate lacks them."""
        self.left_out = images


def iterates(
    logits: Model,
    images: Images,
    labels: Labels,
    *,
    norm: Norm,
    epsilon: float,
    step_size: float,
    steps: int,
    start: Images,
    samples: int = 1,
    loss: Loss | Rise = "cross_entropy",
) -> Iterator[Iterate]:
    """PGD's iterates, ``start`` first and after ``steps`` steps the last: the ``loss`` of the
    true label, or whatever else it is, rises from one to the next.

    ``epsilon`` and ``step_size`` are absolute, in pixel units. All iterates but ``start`` lie in
    the ball and in [0, 1]. ``samples``: as of :func:`slope`, which is asked once for each step.
    """
    points, ball = start.detach(), Ball(images, norm, epsilon)
    for number in range(steps):
        look = partial(slope, logits, points, labels, loss=loss, samples=samples)
        iterate = Iterate(number, points, labels, look)
        yield iterate
        gradient = iterate.slope.gradient
        if iterate.left_out is not None:
            stay = ~iterate.left_out
            points, images, labels, gradient = (
                each[stay] for each in (points, images, labels, gradient)
            )
            ball = Ball(images, norm, epsilon)
        points = ball.step(points, gradient, step_size)
    yield Iterate(steps, points, labels, None)


def pgd(
    logits: Model,
    images: Images,
    labels: Labels,
    *,
    norm: Norm,
    epsilon: float,
    step_size: float,
    steps: int,
    start: Images,
    samples: int = 1,
    loss: Loss | Rise = "cross_entropy",
) -> Images:
    """Adversarial examples for ``images``: the last of the :func:`iterates`."""
    points = start
    for iterate in iterates(
        logits,
        images,
        labels,
        norm=norm,
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        start=start,
        samples=samples,
        loss=loss,
    ):
        points = iterate.points  # no other is kept: each holds a gradient
    return points


def project(points: Images, images: Images, norm: Norm, epsilon: float) -> Images:
    """The ``points`` moved into the ball of radius ``epsilon`` around ``images`` and into [0,
    1]."""
    if norm == "linf":
        inside = torch.minimum(torch.maximum(points, images - epsilon), images + epsilon)
    else:
        offset = points - images
        inside = images + offset * (epsilon / _length(offset)).clamp(max=1).view(-1, 1, 1, 1)
    return inside.clamp(0, 1)


def _steepest(gradient: Images) -> Images:
    """Of length 1 in l2, or 0."""
    # A confident example's gradient is tiny and its squares underflow: scaled first, it still has
    # its direction.
    scaled = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(
        min=torch.finfo(gradient.dtype).tiny
    )
    return scaled / _length(scaled).view(-1, 1, 1, 1)


def _length(vectors: Images) -> Float32[Tensor, "B"]:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=(1, 2, 3)).clamp(min=_TINY)
    return length
