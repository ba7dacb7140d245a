"""The teachers of a sweep: trained generation by generation, the chosen ones measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.definition.teacher_order import ancestors, chain
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.jobs import Job, JobBatch, Phase
from kdray.trials.experiment import AnyTrial
from kdray.trials.task import EpochDone, Task


class Teachers:
    """What teaches in a sweep, and what is left to do for it."""

    def __init__(self, sweep: Sweep, account: Account, members: SweepMembers) -> None:
        self._sweep, self._account, self._members = sweep, account, members
        self._suite, self._variants = sweep.suite("teacher"), teacher_variants(sweep)
        self._choices = list(_choices(sweep))
        self._each = {
            candidate.trial_id
            for candidates, choice in self._choices
            if choice.select == "each"
            for candidate in candidates
        }
        """Teachers that nobody chooses between: each teaches."""
        self.cached: set[str] = set()
        self.measured: list[AnyTrial] = []
        """The teachers that are measured, in order."""

    def generations(self) -> Iterator[TeacherGeneration]:
        """Yield what is trained at once, the teachers of teachers first; the next one is asked for
        when the one before has ended."""
        by_depth = itertools.groupby(chain(self._sweep), key=lambda t: len(list(ancestors(t))))
        generations = [list(generation) for _, generation in by_depth]
        for generation in generations:
            is_last = generation is generations[-1]
            taught = [teacher for teacher in generation if self._may_train(teacher)]
            self.measured += [teacher for teacher in taught if teacher.trial_id in self._each]
            batch = self._batch(
                [(t, self._suite_of(t) if t.trial_id in self._each else ()) for t in taught]
            )
            request = self._sweep.file.resources.teacher
            phase = Phase("teachers", "teacher", request, len(batch.jobs), self.cached)
            yield TeacherGeneration(self, phase, batch, is_last=is_last)

    def chosen(self) -> JobBatch | None:
        """The batch that measures the teachers that were chosen, once all are trained; none if
        there is nothing to measure."""
        chosen: dict[str, AnyTrial] = {}
        for candidates, choice in self._choices:
            teacher = self._account.index.choose(candidates, choice, 0)
            if choice.select != "each" and teacher is not None:
                chosen[teacher.trial_id] = teacher
                self._tell_choice(teacher, candidates)
        self.measured += chosen.values()
        if not self._suite or not chosen:
            return None
        return self._batch([(teacher, self._suite_of(teacher)) for teacher in chosen.values()])

    def _tell_choice(self, teacher: AnyTrial, candidates: Sequence[AnyTrial]) -> None:
        """Say among how many a teacher was chosen, where some of its candidates failed."""
        completed = sum(self._account.index.completed(one.trial_id) for one in candidates)
        if completed < len(candidates):
            self._account.progress.say(
                f"teachers: {teacher.trial_id} (seed {teacher.seed}) was chosen among the "
                f"{completed} of {len(candidates)} candidates that completed"
            )

    def _suite_of(self, teacher: AnyTrial) -> tuple[AnyEvaluation, ...]:
        return in_variants(self._suite, self._variants.get(teacher.trial_id, ()))

    def _may_train(self, teacher: AnyTrial) -> bool:
        """Whether the teacher's own teacher, if it still needs one, is there; if not, its member
        row says why it is not trained."""
        above, index = teacher.teacher, self._account.index
        is_trained = index.completed(teacher.trial_id) and index.has_weights(teacher.trial_id)
        if above is None or is_trained or index.completed(above.trial_id):
            return True
        reason = index.problem(above)
        assert reason is not None
        problem = reason.prefixed(f"its teacher {above.trial_id} failed")
        self._members.failed(self._members.row("teacher", teacher), problem)
        self._account.summary.failures[teacher.trial_id] = problem
        return False

    def _batch(self, wanted: Sequence[tuple[AnyTrial, Sequence[AnyEvaluation]]]) -> JobBatch:
        """What is left to do for some teachers."""
        jobs = []
        for teacher, suite in wanted:
            row, trial_id = self._members.row("teacher", teacher), teacher.trial_id
            self._account.check_weights(trial_id)
            task = self._account.index.task("teacher", teacher, suite, weights_needed=True)
            if task is not None:
                jobs.append(Job(task, row))
                continue
            outcome, reason = self._account.index.outcome(trial_id, suite)
            self.cached.add(trial_id)
            self._account.nothing_left(trial_id, reason)
            self._members.there(row, outcome, reason)
        return JobBatch(jobs)


class TeacherGeneration:
    """The source of the jobs of teachers that may be trained at the same time; after the last
    generation, of those that measure the chosen ones."""

    def __init__(self, teachers: Teachers, phase: Phase, batch: JobBatch, *, is_last: bool) -> None:
        self.phase = phase
        self._teachers, self._is_last = teachers, is_last
        self._training = batch
        self._waiting: list[JobBatch] = [batch]

    def next_batch(self) -> JobBatch | None:
        return self._waiting.pop(0) if self._waiting else None

    def batch_ended(self, batch: JobBatch) -> None:
        """Once all teachers are there, the chosen ones are measured."""
        if self._is_last and batch is self._training:
            chosen = self._teachers.chosen()
            self._waiting += [] if chosen is None else [chosen]

    def stop_reason(self, batch: JobBatch, job: Job, event: EpochDone) -> str | None:  # noqa: ARG002
        return None

    def candidates(self, first: JobBatch) -> Sequence[Task]:
        return [job.task for job in first.jobs]


def _choices(sweep: Sweep) -> Iterator[tuple[list[AnyTrial], TeacherChoice]]:
    """Yield every set of candidates that some point chooses its teacher from, each once."""
    seen: set[tuple[str, str]] = set()
    for space in sweep.spaces:
        for point, candidates in sweep.taught_points(space):
            choice = sweep.choice(point)
            if not candidates:
                continue
            key = (candidates[0].trial_id, choice.model_dump_json())
            if key not in seen:
                seen.add(key)
                yield candidates, choice
