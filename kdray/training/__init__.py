"""Training one network: the loop, its state, optimisers and how it is computed."""

from kdray.training.loop import Diverged, TrainingSetup, train
from kdray.training.settings import Training
from kdray.training.state import Epoch, State

__all__ = ["Diverged", "Epoch", "State", "Training", "TrainingSetup", "train"]
