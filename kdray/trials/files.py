"""The names, within a results folder, of the files that a trial leaves beside the tables."""

from __future__ import annotations


def weights_file(trial_id: str) -> str:
    """The name of the file with the weights of a trained trial."""
    return f"weights/{trial_id}.safetensors"


def initial_file(digest: str) -> str:
    """The name of the file with weights that trainings start from, by their digest."""
    return f"initial/{digest.rpartition(':')[2][:32]}.safetensors"


def checkpoint_file(trial_id: str) -> str:
    """The name of the file from which an interrupted trial continues."""
    return f"checkpoints/{trial_id}.safetensors"
