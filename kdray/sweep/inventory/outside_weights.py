"""The results hold the weights of teachers that were trained elsewhere, so that nothing needs their
files afterwards: workers, other machines, and whoever goes on."""

from __future__ import annotations

from kdray.core import InputError
from kdray.machine.checked_file import Damaged, require_trial, unpack
from kdray.results import Store
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.teachers import Pretrained
from kdray.trials.files import initial_file, weights_file


def store_outside_weights(sweep: Sweep, store: Store) -> None:
    """Store the weights of each such teacher of ``sweep`` whose weights are not there intact, and
    those that trainings start from; :class:`InputError` if nobody has a teacher's."""
    for teacher in chain(sweep):
        if not isinstance(teacher, Pretrained):
            continue
        name = weights_file(teacher.trial_id)
        try:
            kept = store.read(name)
            unpack(kept)
            require_trial(kept, teacher.trial_id)
        except (FileNotFoundError, Damaged):
            packed = sweep.weights.packed(teacher)
            if packed is None:
                raise InputError(
                    f"{store.place}: holds no weights {teacher.weights}; give the path of their "
                    "file"
                ) from None
            store.write(name, packed)
    for digest, packed in sweep.weights.initial.items():
        if not store.exists(initial_file(digest)):
            store.write(initial_file(digest), packed)
