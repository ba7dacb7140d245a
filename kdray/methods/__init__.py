"""Methods. A new one is a file with a frozen value and its pure loss, its name in
:data:`AnyMethod`, and a test file."""

from typing import Annotated

from kdray.core import OpenUnion
from kdray.methods.additive_kd import AdditiveKD
from kdray.methods.adversarial import Adversarial
from kdray.methods.attention_transfer import AttentionTransfer
from kdray.methods.base import (
    Batch,
    EpochViews,
    Losses,
    Method,
    OutputMethod,
    Stage,
    Teacher,
    TeacherSource,
    TrainedTeacher,
    TrainingStep,
)
from kdray.methods.crd import CRD
from kdray.methods.cross_entropy import CrossEntropy
from kdray.methods.dist import DIST
from kdray.methods.dkd import DKD
from kdray.methods.fitnet import FitNet
from kdray.methods.gradient_matching import GradientMatching
from kdray.methods.iad import IAD
from kdray.methods.kd import KD
from kdray.methods.margin import Margin
from kdray.methods.mart import MART
from kdray.methods.output_regression import OutputRegression
from kdray.methods.rkd import RKD
from kdray.methods.robust_student import RobustStudent
from kdray.methods.trades import TRADES

AnyMethod = Annotated[
    CrossEntropy
    | KD
    | DKD
    | DIST
    | AdditiveKD
    | OutputRegression
    | Margin
    | GradientMatching
    | RobustStudent
    | FitNet
    | AttentionTransfer
    | RKD
    | CRD
    | Adversarial
    | TRADES
    | MART
    | IAD,
    OpenUnion(Method),
]

__all__ = [
    "CRD",
    "DIST",
    "DKD",
    "IAD",
    "KD",
    "MART",
    "RKD",
    "TRADES",
    "AdditiveKD",
    "Adversarial",
    "AnyMethod",
    "AttentionTransfer",
    "Batch",
    "CrossEntropy",
    "EpochViews",
    "FitNet",
    "GradientMatching",
    "Losses",
    "Margin",
    "Method",
    "OutputMethod",
    "OutputRegression",
    "RobustStudent",
    "Stage",
    "Teacher",
    "TeacherSource",
    "TrainedTeacher",
    "TrainingStep",
]
