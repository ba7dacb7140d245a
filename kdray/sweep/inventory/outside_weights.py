"""The results hold the weights that were trained elsewhere, of teachers and of what trainings start
from, so that nothing needs their files afterwards: workers, other machines, and whoever goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kdray.core import InputError
from kdray.machine.checked_file import Damaged, require_fact, require_trial, unpack
from kdray.results import Store
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.teachers import Pretrained
from kdray.trials.files import initial_file, weights_file


class OutsideWeights(NamedTuple):
    """Weights that a sweep needs and does not train."""

    digest: str
    file: str
    """Their place within the results."""
    packed: bytes | None
    """What is to be there; none where the sweep file names the digest only."""
    where: str
    """Where it does, for messages."""
    trial_id: str | None = None
    """Of a teacher."""

    def are_held(self, store: Store) -> bool:
        """Whether the results hold them intact."""
        try:
            kept = store.read(self.file)
            unpack(kept)
            if self.trial_id is None:
                require_fact(kept, "weights", self.digest, "weights")
            else:
                require_trial(kept, self.trial_id)
        except (FileNotFoundError, Damaged):
            return False
        return True


def check_outside_weights(sweep: Sweep, store: Store) -> None:
    """Raise :class:`InputError` if the sweep names weights by a digest that the results do not
    hold."""
    for weights in _outside_weights(sweep):
        if weights.packed is None and not weights.are_held(store):
            place = f"{sweep.place}: {weights.where}".removeprefix(": ")
            raise InputError(
                f"{place}: {store.place} holds no weights {weights.digest} (allowed: the path of "
                "their file, or the digest of weights that the results hold)"
            )


def store_outside_weights(sweep: Sweep, store: Store) -> None:
    """Store those of the weights that are not there intact."""
    for weights in _outside_weights(sweep):
        if weights.packed is not None and not weights.are_held(store):
            store.write(weights.file, weights.packed)


def _outside_weights(sweep: Sweep) -> Iterator[OutsideWeights]:
    """Yield everything that ``sweep`` does not train, each once."""
    files = sweep.weights
    for teacher in chain(sweep):
        if isinstance(teacher, Pretrained):
            digest, name = teacher.weights, weights_file(teacher.trial_id)
            where = files.teachers_by_digest.get(digest, "")
            yield OutsideWeights(digest, name, files.packed(teacher), where, teacher.trial_id)
    for digest in {**files.initial_by_digest, **files.initial}:
        where = files.initial_by_digest.get(digest, "")
        yield OutsideWeights(digest, initial_file(digest), files.initial.get(digest), where)
