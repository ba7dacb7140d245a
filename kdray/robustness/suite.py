"""Every evaluation as one type, and looks at a network while it trains."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from kdray.core import Effort, OpenUnion, Several, Value, canonical_json, fingerprint
from kdray.robustness.autoattack import AutoAttack
from kdray.robustness.base import Evaluation, Subject, kind_of, label_of, measurements
from kdray.robustness.certified_radius import CertifiedRadius
from kdray.robustness.clean import Clean
from kdray.robustness.corruptions import Corruptions
from kdray.robustness.fgsm import FGSM
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.occlusion import Occlusion
from kdray.robustness.official_corruptions import OfficialCorruptions
from kdray.robustness.out_of_distribution import OutOfDistribution
from kdray.robustness.pgd import PGD
from kdray.robustness.poisson_noise import PoissonNoise
from kdray.robustness.prediction_bound import PredictionBound
from kdray.robustness.prediction_scores import PredictionScores
from kdray.robustness.signal_to_noise import SignalToNoise
from kdray.robustness.transfer import Transfer

AnyEvaluation = Annotated[
    Clean
    | OutOfDistribution
    | GaussianNoise
    | SignalToNoise
    | PoissonNoise
    | Occlusion
    | Corruptions
    | OfficialCorruptions
    | FGSM
    | PGD
    | AutoAttack
    | Transfer
    | CertifiedRadius
    | PredictionScores
    | PredictionBound,
    OpenUnion(Evaluation),
]


def columns_of(evaluation: Evaluation) -> dict[str, Any]:
    """What the robustness table says of every number of ``evaluation``."""
    return {
        "evaluation_id": fingerprint(evaluation),
        "label": label_of(evaluation),
        "evaluation": kind_of(evaluation),
        "split": evaluation.split,
        "evaluation_parameters": canonical_json(evaluation),
    }


class WhileTraining(Value):
    """An evaluation that is repeated as the network trains: its rows are not those of the trained
    network."""

    evaluation: AnyEvaluation


class Monitor(Value):
    """Evaluations on the validation split while the network trains; their rows in ``robustness``
    have an epoch."""

    every: Annotated[int, Field(ge=1), Effort(smoke=1)] = 1
    """Epochs (of the last stage) from one look to the next."""
    suite: Annotated[Several[AnyEvaluation], Field(min_length=1)]

    @model_validator(mode="after")
    def _on_validation(self) -> Monitor:
        for evaluation in self.suite:
            if evaluation.split != "val":
                raise ValueError(
                    f"suite: {label_of(evaluation)} is on the test split; while training "
                    "set split: val"
                )
            if evaluation.needs_teacher:
                raise ValueError(
                    f"suite: {label_of(evaluation)} compares with the teacher; measure it "
                    "after training"
                )
            if evaluation.across:
                raise ValueError(
                    f"suite: {label_of(evaluation)} compares trials; measure it after training"
                )
        # Labels may repeat: an experiment that is read back from its row has none.
        if len({fingerprint(evaluation) for evaluation in self.suite}) < len(self.suite):
            raise ValueError("suite: two evaluations differ in their label only")
        return self

    def rows(self, subject: Subject) -> list[dict[str, Any]]:
        """The numbers of one look, as rows of the robustness table."""
        return [
            {
                **columns_of(evaluation),
                "evaluation_id": fingerprint(WhileTraining(evaluation=evaluation)),
                **measurement.row(),
            }
            for evaluation in self.suite
            for measurement in measurements(evaluation, subject)
        ]
