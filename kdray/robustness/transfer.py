"""Transferred attacks: images made on one trial, tried on others (Papernot et al. 2016; smoothed_models, section 3, table 3).

A cell of the matrix is a source and a target; the white-box attack is the diagonal. Every image is attacked, also those that
the source gets wrong, and of several restarts an image is that with the highest loss on the source. The images of a source are
made once for all targets, which are held in memory together; an attack of several steps gives the accuracy of each target by
step from one run (figures 4 to 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from kdray.data import ImageData
from kdray.models import Classifier, Stochastic, smoothed
from kdray.robustness.base import Evaluation, Measurement, Subject, accuracy, blocks, is_correct
from kdray.robustness.perturbing import AnyAttack
from kdray.robustness.pgd import PGD


class Transfer(Evaluation):
    """The accuracy of every trial on the adversarial images of every trial, over those that are measured together."""

    paper: ClassVar[str] = "smoothed_models table 3, figs. 4 to 6 (by step; ε 2, 8, 30/255)"
    across: ClassVar[bool] = True

    name: Literal["transfer"] = "transfer"
    attack: AnyAttack = PGD()
    """Its own split, examples and smoothing are not asked for: those of the transfer count."""

    @model_validator(mode="after")
    def _says_it_once(self) -> Transfer:
        for name in ("split", "examples", "smoothing", "label"):
            if getattr(self.attack, name) != type(self.attack).model_fields[name].default:
                raise ValueError(f"attack.{name}: say it of the transfer itself, it is the same for all models")
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
                targets[trial_id] = self._as_used(load())
            except Exception as error:
                yield Measurement.missing(error, trial_id=trial_id)
        strengths = self.attack.strengths()
        correct = {trial_id: [0] * len(strengths) for trial_id in targets}
        for block in blocks(subject.split) if targets else ():
            for number, images in enumerate(self.attack.perturbed(subject.classifier, block)):
                for trial_id, target in targets.items():
                    correct[trial_id][number] += int(is_correct(target, images, block.labels).sum())
        for trial_id, counted in correct.items():
            for parameters, right in zip(strengths, counted, strict=True):
                yield accuracy(right, len(subject.split.labels), trial_id=trial_id, **parameters)

    def _as_used(self, target: Classifier) -> Classifier:
        """Smoothed if so asked, unless all its passes are the same."""
        drawing = any(isinstance(module, Stochastic) for module in target.modules())
        noisy = self.smoothing is not None and self.smoothing.sigma > 0
        return smoothed(target, self.smoothing) if drawing or noisy else target
