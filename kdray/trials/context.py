"""What a trial works with, and what its training begins from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kdray.core import seeds, tag_of
from kdray.data import Dataset
from kdray.machine import hardware
from kdray.machine.checked_file import Damaged, require_trial
from kdray.models import Classifier, smallest_batch
from kdray.teachers import TeacherOracle
from kdray.training import State, TrainingSetup
from kdray.trials.experiment import AnyTrial, Experiment
from kdray.trials.files import checkpoint_file
from kdray.trials.grant import Grant
from kdray.trials.log import Log
from kdray.trials.task import epochs_of
from kdray.trials.trained import TrainedModels

OF_THE_ROOM = 0.5
"""The part of a GPU's free memory that images may take; networks and batches need the rest."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint or weights file is not intact; the trial trains from the start."""


@dataclass(frozen=True)
class TrialContext:
    """What a trial works with: the models that are trained already, its part of the machine, and
    its log."""

    models: TrainedModels
    grant: Grant
    log: Log
    shares_logits: bool = True
    """Whether what teachers answer is shared with the node's other trials."""

    def columns(self) -> dict[str, Any]:
        """Columns of the trials table that say what the trial ran on."""
        return {
            "device": hardware.device_name(self.models.device),
            "device_memory": hardware.device_memory(self.models.device),
            "threads": self.grant.threads,
            "gpu": self.grant.gpu,
            "gpu_busy": self.grant.busy,
            "retried": self.grant.retried,
        }

    def dataset(self, experiment: AnyTrial) -> Dataset:
        """The data set on the device; images that would take more than :data:`OF_THE_ROOM` of
        it stay in main memory, which changes no number."""
        held, device = experiment.data.load(self.models.data_root), self.models.device
        room = hardware.room(device, self.grant.gpu or 1, self.grant.context)
        streamed = room is not None and held.size > OF_THE_ROOM * room
        if streamed:
            self.log.say(
                f"the images ({held.size / 1e9:.1f} GB) stay in main memory, each batch is copied: "
                f"the trial may take {(room or 0) / 1e9:.1f} GB of the GPU"
            )
        return held.to(device, streamed=streamed)

    def student(self, experiment: Experiment) -> Classifier:
        """What learns, untrained, with the kernels that it is trained by."""
        classifier = self.models.untrained(experiment)
        self.grant.compute.prepare(
            classifier, experiment.training.precision, twice=experiment.method.differentiates_twice
        )
        return classifier


def training_setup(
    experiment: Experiment, dataset: Dataset, context: TrialContext
) -> TrainingSetup:
    """What ``experiment`` trains with: its teacher loaded, and asked as it says."""
    teacher, oracle = context.models.teacher(experiment), None
    if experiment.method.asks_teacher:
        shared = experiment.teacher if context.shares_logits else None
        oracle = TeacherOracle(
            experiment.supervision,
            teacher,
            classes=experiment.data.classes,
            seed=experiment.seed,
            name=None if shared is None else shared.trial_id,
            say=context.log.say,
        )
    training, images = experiment.training, len(dataset.train.labels)
    compute, method = context.grant.compute, experiment.method
    replayed = compute.replays(dataset.train.device, method)
    if compute.cuda_graph and not replayed:
        why = (
            f"the steps of method {tag_of(type(method))} differ as it is set"
            if dataset.train.device.type == "cuda"
            else "it has no GPU"
        )
        context.log.say(f"no CUDA graph: {why}")
    has_single_batch = images % training.batch_size == 1
    return TrainingSetup(
        data=experiment.data,
        dataset=dataset,
        method=experiment.method,
        training=training,
        noise=experiment.noise,
        oracle=oracle,
        seed=experiment.seed,
        smallest_batch=smallest_batch(*experiment.network) if has_single_batch else 1,
        cuda_graph=replayed,
    )


def begin_or_resume(
    experiment: Experiment, setup: TrainingSetup, context: TrialContext
) -> tuple[State, str]:
    """The state to go on from, and when the training first began (ISO 8601)."""
    store, name = context.models.store, checkpoint_file(experiment.trial_id)
    try:
        if store.exists(name):
            packed = store.read(name)
            require_trial(packed, experiment.trial_id)
            # It holds everything: the weights that the training once began from are not needed.
            state = fresh_state(experiment, setup, context.student(experiment))
            started_at = str(state.unpack(packed)["started_at"])
            context.log.say(
                f"training goes on after {len(state.history)} of {epochs_of(experiment)} epochs"
            )
            return state, started_at
    except Damaged as error:
        warnings.warn(
            f"{store.place}/{name} is damaged ({error}): starting anew",
            DamagedCheckpoint,
            stacklevel=2,
        )
    state = fresh_state(experiment, setup, _first_student(experiment, context))
    context.log.say("training from the start")
    return state, datetime.now(UTC).isoformat()


def _first_student(experiment: Experiment, context: TrialContext) -> Classifier:
    """The student before the first epoch, with the weights that the experiment names, if any."""
    student = context.student(experiment)
    if experiment.init is not None:
        tensors = context.models.initial(experiment.init)
        student.network.load_state_dict(tensors, strict=False)
        count = len(student.network.state_dict())
        context.log.say(
            f"starts from {len(tensors)} of {count} tensors of {experiment.init.weights}"
        )
    return student


def fresh_state(experiment: Experiment, setup: TrainingSetup, classifier: Classifier) -> State:
    """The state of a training that begins with ``classifier`` as it is."""
    teacher = None if setup.oracle is None else setup.oracle.epoch()
    classifier.eval()
    with seeds.ambient(
        experiment.seed, "model", 1
    ):  # not the stream that the student's own weights come from
        helper = experiment.method.helper(classifier, teacher, setup.dataset.train)
    return State.before(classifier, helper, experiment.training)
