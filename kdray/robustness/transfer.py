"""Transferred attacks: images made on one trial, tried on others (Papernot et al. 2016; smoothed_models, section 3, table 3).

A cell of the matrix is a source and a target; the white-box attack is the diagonal. Every image is attacked, also those that
the source gets wrong, and of several restarts an image is that with the highest loss on the source. The images of a source are
made once for all targets.
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

    paper: ClassVar[str] = "smoothed_models table 3 (ε 8/255)"
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
        for variant in self.attack.variants() if subject.others else ():
            made = [block._replace(images=variant.perturb(subject.classifier, block)) for block in blocks(subject.split)]
            for trial_id, load in subject.others.items():
                try:
                    target = self._as_used(load())
                except Exception as error:
                    yield Measurement.missing(error, trial_id=trial_id, **variant.parameters)
                    continue
                correct = sum(int(is_correct(target, block.images, block.labels).sum()) for block in made)
                yield accuracy(correct, len(subject.split.labels), trial_id=trial_id, **variant.parameters)

    def _as_used(self, target: Classifier) -> Classifier:
        """Smoothed if so asked, unless all its passes are the same."""
        drawing = any(isinstance(module, Stochastic) for module in target.modules())
        noisy = self.smoothing is not None and self.smoothing.sigma > 0
        return smoothed(target, self.smoothing) if drawing or noisy else target
