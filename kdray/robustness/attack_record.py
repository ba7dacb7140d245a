"""What an attack of several restarts did to each image, noted while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from kdray.robustness.base import Block, Images

NEVER = 2**31
"""Number of the iterate that breaks an image which none breaks."""


@dataclass(frozen=True)
class AttackRecord:
    """What the restarts of an attack have done so far to some images."""

    clean: Int64[Tensor, "B"]
    """Right predictions without perturbation, of ``repeats``."""
    right: dict[int, Int64[Tensor, "R B"]]
    """By steps: right predictions of the final iterate of each restart; all of them where it was
    left out."""
    broken_at: Int64[Tensor, "B"]
    """The first iterate of any restart that breaks the image (0 is the start), or :data:`NEVER`; -1
    without perturbation."""
    flat: Bool[Tensor, "B"]
    """Whether the gradient at the first start leads nowhere."""
    afresh: dict[int, Int64[Tensor, "B"]] = field(default_factory=dict)
    """By steps, with ``repeats``: right ones of new predictions of the worst restart."""

    @classmethod
    def before(
        cls, clean: Int64[Tensor, "B"], *, steps: Sequence[int], restarts: int, repeats: int
    ) -> AttackRecord:
        """A record in which nothing has been tried yet."""
        alive = torch.where(clean > 0, repeats, 0).expand(restarts, -1)
        return cls(
            clean,
            {taken: alive.clone() for taken in steps},
            torch.where(clean > 0, NEVER, -1),
            torch.zeros_like(clean, dtype=torch.bool),
        )

    @classmethod
    def joined(cls, parts: list[AttackRecord]) -> AttackRecord:
        """The records of all blocks as one."""
        first, *_ = parts
        return cls(
            torch.cat([part.clean for part in parts]),
            {
                steps: torch.cat([part.right[steps] for part in parts], dim=1)
                for steps in first.right
            },
            torch.cat([part.broken_at for part in parts]),
            torch.cat([part.flat for part in parts]),
            {steps: torch.cat([part.afresh[steps] for part in parts]) for steps in first.afresh},
        )

    @property
    def attackable(self) -> Bool[Tensor, "B"]:
        """The images that are right without perturbation."""
        return self.clean > 0

    @property
    def survives(self) -> Bool[Tensor, "B"]:
        """The images that at some number of steps the final iterate of no restart breaks."""
        return torch.stack([right.amin(0) > 0 for right in self.right.values()]).any(0)

    def note_broken(self, at: Int64[Tensor, "n"], wrong: Bool[Tensor, "n"], number: int) -> None:
        """Note which of the images ``at`` the iterate ``number`` breaks."""
        before = self.broken_at[at]
        self.broken_at[at] = torch.where(wrong, before.clamp(max=number), before)


class WorstExamples:
    """The final iterate, by steps, of the restart that fewest predictions get right, of each
    image."""

    def __init__(self, block: Block, steps: Sequence[int], most: int) -> None:
        self.images = {taken: block.images.clone() for taken in steps}
        # Any example is better than none.
        self._fewest = {taken: torch.full_like(block.labels, most + 1) for taken in steps}

    def note(
        self, steps: int, at: Int64[Tensor, "n"], points: Images, right: Int64[Tensor, "n"]
    ) -> None:
        """Keep those of ``points`` that are worse than what the images ``at`` had before."""
        images, fewest = self.images[steps], self._fewest[steps]
        worse = right < fewest[at]
        images[at] = torch.where(worse.view(-1, 1, 1, 1), points, images[at])
        fewest[at] = torch.minimum(right, fewest[at])
