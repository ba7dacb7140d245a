"""AutoAttack: Croce, Hein 2020 (arXiv:2003.01690), with the attacks of the package
``pyautoattack``.

    standard   APGD-CE, APGD-T (targeted DLR loss), FAB-T, then Square, which sees no gradient rand
    APGD-CE, APGD-DLR, each gradient the mean over ``samples`` passes: for models that draw

The DLR loss needs three classes, the targeted one four: with fewer, standard is APGD-CE and Square,
rand with two classes APGD-CE alone, and the row says so.

Each attack is run on what the ones before it have left standing. The numbers are kdray's own
predictions of the images that the attacks return, not the package's: those come of the same draw
that an image was found with, which makes a model that draws look worse than it is
(fra31/auto-attack#105). For the same reason ``rand`` takes from APGD the iterate of the highest
loss of every image, where the package takes the last one that a single draw got wrong, and leaves
an image unattacked whose first draw was wrong: on digits, with dropout 0.5 or input noise of 0.15,
that left accuracy 1.4 to 2.7 points higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Int64
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Effort, InputError, efforts, seeds
from kdray.data import ImageData
from kdray.models import Classifier
from kdray.perturbations.attacks import Norm, project, slope
from kdray.robustness import checks
from kdray.robustness.base import (
    Block,
    Images,
    Measurement,
    Perturbing,
    Subject,
    accuracy,
    blocks,
    right_predictions,
)

Ensemble = Literal["standard", "rand"]
Attack = Literal["apgd_ce", "apgd_dlr", "apgd_t", "fab_t", "square"]
ATTACKS: dict[Ensemble, tuple[Attack, ...]] = {
    "standard": ("apgd_ce", "apgd_t", "fab_t", "square"),
    "rand": ("apgd_ce", "apgd_dlr"),
}
"""In the order of the authors' code."""
LEAST_CLASSES: dict[Attack, int] = {"apgd_dlr": 3, "apgd_t": 4, "fab_t": 4}
"""Classes that an attack is there from on; all others from two."""
TARGETS = 9
"""Other classes that a targeted attack tries, those of the highest logits first; all others, where
there are fewer."""
STRIPES = 5
"""Rows of squares that Square starts from with l2."""
ONLY: dict[str, Ensemble] = {"queries": "standard", "samples": "rand", "repeats": "rand"}
"""Fields that one ensemble alone has a use for."""
NOTICED = 0.002
"""Share of the images by which Square must lower accuracy to be told of: that of the authors' own
check."""


class AutoAttack(Perturbing):
    """Accuracy after each attack and after all of them; an image that is wrong without perturbation
    is not attacked.

    ``rand`` attacks every image and takes, of the two attacks, the example that fewer predictions
    get right. Which starting point an image gets depends on which others are still standing, as in
    the authors' code.
    """

    paper: ClassVar[str] = "none of the four papers; Croce, Hein 2020 (arXiv:2003.01690)"

    name: Literal["autoattack"] = "autoattack"
    norm: Norm = "linf"
    epsilon: Annotated[float, Field(ge=0)] = 8 / 255
    """Radius of the ball, in pixel units of images in [0, 1]; 0: no attack."""
    attacks: Ensemble = "standard"
    """Which ensemble: the authors' ``version``. ``rand`` is for models that draw."""
    steps: Annotated[int, Field(ge=1), Effort(smoke=3, memory=3)] = 100
    """Iterations of APGD and FAB, for each target."""
    queries: Annotated[int, Field(ge=1), Effort(smoke=50, memory=50)] = 5000
    """Of Square, per image (standard only)."""
    samples: Annotated[int, Field(ge=1), Effort(smoke=4, memory=2)] = 20
    """Passes that each gradient is averaged over (rand only)."""
    repeats: Annotated[int, Field(ge=1), Effort(memory=2)] = 1
    """Predictions of each adversarial example (rand only): accuracy is the share of right ones."""

    @model_validator(mode="after")
    def _has_a_use_for_it(self) -> AutoAttack:
        for name, ensemble in ONLY.items():
            if (
                self.attacks != ensemble
                and getattr(self, name) != type(self).model_fields[name].default
            ):
                raise ValueError(
                    f"{name}: {self.attacks} attacks have no use for it (allowed: with "
                    f"attacks: {ensemble})"
                )
        return self

    def misfit(self, data: ImageData) -> str | None:
        height = data.shape[1]
        if self.attacks == "standard" and self.norm == "l2" and height < STRIPES:
            return (
                f"norm: Square with l2 needs images of {STRIPES} rows or more, and there are "
                f"{height}"
            )
        return None

    def check(self, data: ImageData, root: Path) -> None:
        del data, root
        if self.epsilon > 0 and find_spec("pyautoattack") is None:
            raise InputError(
                "autoattack needs pyautoattack, which is not installed: pip install "
                "'kdray[attacks]'"
            )

    def cautions(self) -> Iterator[str]:
        for name in ("steps", "queries", "samples"):
            given, published = getattr(self, name), type(self).model_fields[name].default
            if given < published:
                yield (
                    f"{name} {given} is less than AutoAttack's {published}: do not compare with "
                    "published numbers"
                )

    @classmethod
    def shrunk(cls, written: dict[str, Any]) -> dict[str, Any]:
        """The effort that is not written, too: its defaults take minutes."""
        marked = {name: mark.smoke for name, mark in efforts(cls).items()}
        few = {name: marked[name] for name in ("steps", "queries")}
        return {**few, **super().shrunk(written)}

    def metrics(self) -> dict[str, int]:
        return dict.fromkeys(
            [*(f"accuracy_after_{attack}" for attack in ATTACKS[self.attacks]), "accuracy"], 1
        )

    def strengths(self) -> list[dict[str, Any]]:
        samples = self.samples if self.attacks == "rand" else None
        return [
            {"norm": self.norm, "epsilon": self.epsilon, "steps": self.steps, "samples": samples}
        ]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        """The examples after the last attack; an image that no attack breaks is as it was (rand: at
        its highest loss)."""
        *_, last = self._after_each(classifier, block)
        yield last

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        classifier = subject.classifier
        attacks = self._attacks(_classes(classifier, next(blocks(subject.split.first(1))).images))
        correct, clean, flat, attacked = dict.fromkeys(attacks, 0), 0, 0, 0
        for block in blocks(subject.split):
            as_it_is = right_predictions(classifier, block.images, block.labels, self.repeats)
            clean += int(as_it_is.sum())
            if self.epsilon > 0:
                attacked += int((as_it_is > 0).sum())
                flat += self._flat(
                    classifier, block.images[as_it_is > 0], block.labels[as_it_is > 0]
                )
            for attack, examples in zip(attacks, self._after_each(classifier, block), strict=True):
                correct[attack] += int(
                    right_predictions(classifier, examples, block.labels, self.repeats).sum()
                )
        predictions, (parameters,) = len(subject.split.labels) * self.repeats, self.strengths()
        for attack in attacks:
            yield accuracy(
                correct[attack], predictions, metric=f"accuracy_after_{attack}", **parameters
            )
        doubts = checks.joined(
            checks.zero_gradients(flat, attacked),
            checks.above_clean(correct[attacks[-1]], clean),
            self._wrong_ensemble(subject) or self._square_alone(correct, predictions),
            self._left_out(attacks),
        )
        yield accuracy(correct[attacks[-1]], predictions, checks=doubts, **parameters)

    def _attacks(self, classes: int) -> tuple[Attack, ...]:
        """Those of the ensemble that there are with so many classes."""
        return tuple(
            attack for attack in ATTACKS[self.attacks] if classes >= LEAST_CLASSES.get(attack, 2)
        )

    def _left_out(self, attacks: tuple[Attack, ...]) -> str | None:
        """That some attacks need more classes."""
        names = [attack for attack in ATTACKS[self.attacks] if attack not in attacks]
        return (
            f"too few classes for {', '.join(names)}: not AutoAttack as published"
            if names
            else None
        )

    def _flat(self, classifier: Classifier, images: Images, labels: Int64[Tensor, "B"]) -> int:
        """How many ``images`` have a gradient of the cross-entropy that leads nowhere."""
        samples = self.samples if self.attacks == "rand" else 1
        gradient = (
            slope(classifier.logits, images, labels, samples=samples).gradient
            if len(images)
            else images
        )
        return int(checks.leads_nowhere(gradient).sum())

    def _wrong_ensemble(self, subject: Subject) -> str | None:
        """A model that draws needs rand; one that does not is attacked by more in standard."""
        drawn = checks.random_output(subject)
        if self.attacks == "standard":
            return drawn and f"{drawn}: use attacks: rand"
        return None if drawn else "output is not random: attacks: standard is stronger"

    def _square_alone(self, correct: dict[Attack, int], images: int) -> str | None:
        """Gradients that mislead: what needs none of them found more."""
        if self.attacks != "standard":
            return None
        white_box = [correct[attack] for attack in correct if attack != "square"]
        broken = white_box[-1] - correct["square"]
        if broken <= NOTICED * images:
            return None
        return f"black-box Square broke {broken} images that the white-box attacks did not"

    def _after_each(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        """The examples of all images after each attack."""
        labels, examples = block.labels, block.images
        right = right_predictions(classifier, examples, labels, self.repeats)
        if self.attacks == "rand":
            right = torch.full_like(right, self.repeats + 1)  # any example is better than none
        for attack in self._attacks(_classes(classifier, examples[:1])):
            standing = right > 0
            if self.epsilon > 0 and bool(standing.any()):
                found = examples.clone()
                found[standing] = self._attack(
                    attack, classifier, block, standing.nonzero().flatten()
                )
                predicted = right_predictions(classifier, found, labels, self.repeats)
                better = predicted < right
                examples = torch.where(better.view(-1, 1, 1, 1), found, examples)
                right = torch.minimum(predicted, right)
            yield examples

    def _attack(
        self, attack: Attack, classifier: Classifier, block: Block, at: Int64[Tensor, "b"]
    ) -> Images:
        """What ``attack`` makes of the images at ``at``."""
        images, labels = block.images[at], block.labels[at]
        # The package seeds torch's global generator, which is also what a model draws from.
        with seeds.ambient(self.seed, "attack", block.number), torch.no_grad():
            found = self._perturber(attack, classifier, block)(images.clone(), labels.clone())
        return project(found.detach(), images, self.norm, self.epsilon)

    def _perturber(self, attack: Attack, classifier: Classifier, block: Block) -> Any:
        """A function of (images, labels): ``attack`` with the parameters of the authors'
        ``autoattack.py``."""
        # Imported when it is needed, because what it imports is optional.
        package = import_module("kdray.robustness.autoattack_package")
        targets = min(TARGETS, _classes(classifier, block.images[:1]) - 1)
        return package.perturber(
            attack,
            classifier.logits,
            package.Settings(
                norm=self.norm,
                epsilon=self.epsilon,
                seed=seeds.stream_seed(self.seed, "attack", block.number),
                device=block.images.device,
                steps=self.steps,
                queries=self.queries,
                targets=targets,
                samples=self.samples if self.attacks == "rand" else None,
            ),
        )


def _classes(classifier: Classifier, image: Images) -> int:
    """How many classes ``classifier`` tells apart; what it draws for it is not missed later."""
    with seeds.ambient(0, "attack"), torch.no_grad():
        return int(classifier.logits(image).shape[1])
