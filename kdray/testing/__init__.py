"""The contracts of every kind of member, for kdray's own and for those of plug-ins.

    from kdray.testing import check_method

    def test_my_loss():
        check_method(MyLoss(alpha=0.5))

Each ``check_…`` takes an instance, holds every contract of its kind against it and raises
AssertionError that names the first that is broken and says what was found. A contract is a function
with a name and a docstring that say what is kept to; no test framework is needed.
"""

from kdray.testing.contracts import Contract, check, hold
from kdray.testing.data import DATA_CONTRACTS, check_data
from kdray.testing.evaluations import EVALUATION_CONTRACTS, check_evaluation
from kdray.testing.methods import METHOD_CONTRACTS, check_method
from kdray.testing.models import MODEL_CONTRACTS, NOISY_MODEL_CONTRACTS, check_model
from kdray.testing.noise import (
    INPUT_NOISE_CONTRACTS,
    LABEL_NOISE_CONTRACTS,
    LOGIT_NOISE_CONTRACTS,
    WEIGHT_NOISE_CONTRACTS,
    check_input_noise,
    check_label_noise,
    check_logit_noise,
    check_weight_noise,
)
from kdray.testing.samplers import SAMPLER_CONTRACTS, check_sampler
from kdray.testing.values import VALUE_CONTRACTS

__all__ = [
    "DATA_CONTRACTS",
    "EVALUATION_CONTRACTS",
    "INPUT_NOISE_CONTRACTS",
    "LABEL_NOISE_CONTRACTS",
    "LOGIT_NOISE_CONTRACTS",
    "METHOD_CONTRACTS",
    "MODEL_CONTRACTS",
    "NOISY_MODEL_CONTRACTS",
    "SAMPLER_CONTRACTS",
    "VALUE_CONTRACTS",
    "WEIGHT_NOISE_CONTRACTS",
    "Contract",
    "check",
    "check_data",
    "check_evaluation",
    "check_input_noise",
    "check_label_noise",
    "check_logit_noise",
    "check_method",
    "check_model",
    "check_sampler",
    "check_weight_noise",
    "hold",
]
