"""Transferred attacks: images made on one trial, tried on others (Papernot et al. 2016;
smoothed_models, section 3, table 3).

A cell of the matrix is a source and a target; the white-box attack is the diagonal. Every image is
attacked, also those that the source gets wrong, and of several restarts an image is that with the
highest loss on the source. The images of a source are made once for all targets, which are held in
memory together; an attack of several steps gives the accuracy of each target by step from one run
(figures 4 to 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from kdray.core import seeds
from kdray.data import ImageData
from kdray.models import Classifier, Stochastic
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy, blocks, is_correct
from kdray.robustness.perturbing import AnyAttack, said_above
from kdray.robustness.pgd import PGD


class Transfer(Evaluation):
    """The accuracy of every trial on the adversarial images of every trial, over those that are
    measured together."""

    paper: ClassVar[str] = "smoothed_models table 3, figs. 4 to 6 (by step; ε 2, 8, 30/255)"
    across: ClassVar[bool] = True

    name: Literal["transfer"] = "transfer"
    attack: AnyAttack = PGD()
    """Its split, examples, seed and smoothing are those of the transfer."""

    @model_validator(mode="after")
    def _says_it_once(self) -> Transfer:
        said_above("attack", self.attack, "split", "examples", "seed", "smoothing", "label")
        return self

    def misfit(self, data: ImageData) -> str | None:
        problem = self.attack.misfit(data)
        return problem and f"attack.{problem}"

    def check(self, data: ImageData, root: Path) -> None:
        self.attack.check(data, root)

    def cautions(self) -> Iterator[str]:
        return self.attack.cautions()

    def metrics(self) -> dict[str, int]:
        """None: how many there are depends on who is measured together."""
        return {}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        """A row for every target; one that cannot be loaded has an error in it."""
        targets: dict[str, Classifier] = {}
        for trial_id, load in subject.others.items():
            try:
                targets[trial_id] = self.as_used(load())
            except Exception as error:
                yield Measurement.missing(error, trial_id=trial_id)
        attack = self.attack.model_copy(update={"seed": self.seed})
        strengths = attack.strengths()
        correct = {trial_id: [0] * len(strengths) for trial_id in targets}
        for block in blocks(subject.split) if targets else ():
            # What models draw depends on nobody else: a cell is the same whoever is measured beside
            # it.
            with seeds.ambient(self.seed, "evaluation", block.number):
                made = list(attack.perturbed(subject.classifier, block))
            for trial_id, target in targets.items():
                with seeds.ambient(self.seed, "evaluation", block.number, 1):
                    for number, images in enumerate(made):
                        correct[trial_id][number] += int(
                            is_correct(target, images, block.labels).sum()
                        )
        for trial_id, counted in correct.items():
            for parameters, right in zip(strengths, counted, strict=True):
                yield accuracy(right, len(subject.split.labels), trial_id=trial_id, **parameters)

    def as_used(self, classifier: Classifier) -> Classifier:
        """Smoothed if so asked, unless all its passes are the same."""
        drawing = any(isinstance(module, Stochastic) for module in classifier.modules())
        noisy = self.smoothing is not None and self.smoothing.sigma > 0
        return super().as_used(classifier) if drawing or noisy else classifier
