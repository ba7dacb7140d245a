"""The part of a training step that computes a gradient: forward passes, loss, backward pass.

Operation by operation, or replayed as a CUDA graph: one launch of what the first steps have shown
to be always the same operations on the same memory. A graph cannot hold what the processor does
meanwhile, so the teacher is asked before a replay, and only a method that says so
(:attr:`kdray.methods.Method.is_replayable`) is replayed. The same kernels run in the same
order with the same draws, hence the bits are the same.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal, NamedTuple, Protocol

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from kdray.methods import Batch, Losses, Method, Teacher, TrainingStep
from kdray.models import Outputs
from kdray.training.compute import Precision, computing_in

WARM_UP = 3
"""Steps that are computed operation by operation before one is captured: libraries make their
handles and workspaces in the first."""


class Steps:
    """Computes the gradients of a stage's steps, operation by operation."""

    def __init__(
        self, method: Method, stage: str, precision: Precision, learned: nn.Module
    ) -> None:
        self._method, self._stage, self._precision = method, stage, precision
        self._parameters = list(learned.parameters())  # not looked for again in every step

    def draws_of(self, epoch: torch.Generator) -> torch.Generator:
        """The generator that the steps of an epoch draw from, where ``epoch`` stands."""
        return epoch

    def __call__(self, step: TrainingStep) -> Losses:
        """The losses of ``step``, whose gradients the learned parameters have afterwards."""
        with computing_in(self._precision, step.batch.images.device):
            losses = self._method.losses(self._stage, step)
        for parameter in self._parameters:
            parameter.grad = None
        losses.total.backward()
        return losses


class Graph(Protocol):
    """Operations that are recorded once and run again as one."""

    def warming_up(self) -> AbstractContextManager[object]:
        """Within it the same operations run one by one before they are recorded."""

    def record(self, run: Callable[[], None], draws: torch.Generator) -> None:
        """Record what ``run`` does, without doing it; ``draws`` is drawn from."""

    def replay(self) -> None:
        """Do what was recorded."""


class CudaGraph:
    """A graph of kernels on the current GPU."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # What was done on the first stream of a process cannot become part of a capture.
        self._stream = torch.cuda.Stream()

    def warming_up(self) -> AbstractContextManager[object]:
        self._stream.wait_stream(torch.cuda.current_stream())
        return _OnStream(self._stream)

    def record(self, run: Callable[[], None], draws: torch.Generator) -> None:
        self._graph.register_generator_state(draws)
        # A teacher's answers may be read ahead meanwhile, into pinned memory, by another thread.
        mode = "thread_local"
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode=mode):
            run()

    def replay(self) -> None:
        self._graph.replay()


class _OnStream:
    """Within it ``stream`` is the current one; afterwards the one before waits for it."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream, self._entered = stream, torch.cuda.stream(stream)

    def __enter__(self) -> None:
        self._entered.__enter__()

    def __exit__(self, *raised: object) -> None:
        self._entered.__exit__(*raised)
        torch.cuda.current_stream().wait_stream(self._stream)


class NotTheSame(Exception):
    """A method that says that its steps are all the same asked what only one of them can know."""


class Question(NamedTuple):
    """What a method asks the teacher about a batch."""

    about: Literal["logits", "gradient", "outputs"]
    temperature: float

    def ask(self, teacher: Teacher, batch: Batch) -> tuple[Tensor, ...]:
        """The parts of the teacher's answer."""
        if self.about == "logits":
            return (teacher.logits(batch, temperature=self.temperature),)
        if self.about == "gradient":
            return teacher.with_gradient(batch, temperature=self.temperature)
        answer = teacher(batch.clean, batch.labels, temperature=self.temperature)
        return (answer.logits, answer.embedding, *answer.stages)


class Questioned(Teacher):
    """A teacher that is asked about one batch, in questions that :meth:`_answer` gets."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __call__(
        self, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
    ) -> Outputs:
        del labels
        if images is not self._batch.clean:
            raise NotTheSame("it asks the teacher about images that are made in the step")
        logits, embedding, *stages = self._answer(Question("outputs", temperature))
        return Outputs(logits, tuple(stages), embedding)

    def logits(self, batch: Batch, *, temperature: float) -> Float[Tensor, "B K"]:
        del batch
        return self._answer(Question("logits", temperature))[0]

    def with_gradient(
        self, batch: Batch, *, temperature: float
    ) -> tuple[Float[Tensor, "B K"], Float32[Tensor, "B C H W"]]:
        del batch
        logits, gradient = self._answer(Question("gradient", temperature))
        return logits, gradient

    @abstractmethod
    def _answer(self, question: Question) -> tuple[Tensor, ...]:
        """The parts of the answer."""


class Overheard(Questioned):
    """A teacher whose ``questions`` are noted."""

    def __init__(self, teacher: Teacher, batch: Batch) -> None:
        super().__init__(batch)
        self._teacher = teacher
        self.questions: list[Question] = []

    def _answer(self, question: Question) -> tuple[Tensor, ...]:
        self.questions.append(question)
        return question.ask(self._teacher, self._batch)


class AskedBefore(Questioned):
    """What a teacher has said before the step, in the order of the questions."""

    def __init__(self, batch: Batch, answers: list[tuple[Tensor, ...]]) -> None:
        super().__init__(batch)
        self._answers = iter(answers)

    def _answer(self, question: Question) -> tuple[Tensor, ...]:
        try:
            return next(self._answers)
        except StopIteration:
            raise NotTheSame(f"it asks the teacher for more than before: {question}") from None


class ReplayedSteps(Steps):
    """Computes the gradients of a stage's steps, those of whole batches as a graph."""

    def __init__(
        self,
        method: Method,
        stage: str,
        precision: Precision,
        learned: nn.Module,
        graph: Callable[[], Graph] = CudaGraph,
    ) -> None:
        super().__init__(method, stage, precision, learned)
        self._graph = graph()
        self._draws: torch.Generator | None = None
        self._size = 0
        """Examples in a whole batch."""
        self._warm = 0
        self._questions: list[Question] = []
        self._recorded: Recorded | None = None

    def draws_of(self, epoch: torch.Generator) -> torch.Generator:
        if self._draws is None:  # the one that the graph knows
            self._draws = torch.Generator(epoch.device)
        self._draws.set_state(epoch.get_state())
        return self._draws

    def __call__(self, step: TrainingStep) -> Losses:
        self._size = self._size or len(step.batch.labels)
        if len(step.batch.labels) != self._size:  # the last one of an epoch
            return super().__call__(step)
        if self._warm < WARM_UP:
            return self._warmed_up(step)
        answers = self._answers(step)
        if self._recorded is None:
            self._recorded = Recorded.of(step, answers)
            self._graph.record(partial(self._run, self._recorded), step.draws)
            self._recorded.gradients = [parameter.grad for parameter in self._parameters]
        self._recorded.fill(step.batch, answers)
        for parameter, gradient in zip(self._parameters, self._recorded.gradients, strict=True):
            parameter.grad = gradient
        self._graph.replay()
        assert self._recorded.losses is not None
        return self._recorded.losses

    def _warmed_up(self, step: TrainingStep) -> Losses:
        """As operation by operation, and with an ear for what the teacher is asked."""
        self._warm += 1
        overheard = None if step.teacher is None else Overheard(step.teacher, step.batch)
        with self._graph.warming_up():
            losses = _detached(super().__call__(step._replace(teacher=overheard)))
        self._questions = [] if overheard is None else overheard.questions
        return losses

    def _answers(self, step: TrainingStep) -> list[tuple[Tensor, ...]]:
        """What the teacher says of a batch, computed as within a step."""
        if step.teacher is None:
            return []
        with computing_in(self._precision, step.batch.images.device):
            return [question.ask(step.teacher, step.batch) for question in self._questions]

    def _run(self, recorded: Recorded) -> None:
        recorded.losses = _detached(super().__call__(recorded.step()))


class Recorded:
    """The memory that the operations of a graph read and write."""

    def __init__(self, step: TrainingStep, batch: Batch, answers: list[tuple[Tensor, ...]]) -> None:
        # Without the teacher as it is asked in this epoch, which holds a window of its answers.
        self._step, self._asks = step._replace(batch=batch, teacher=None), step.teacher is not None
        self._batch, self._answers = batch, answers
        self.losses: Losses | None = None
        self.gradients: list[Tensor | None] = []

    @classmethod
    def of(cls, step: TrainingStep, answers: list[tuple[Tensor, ...]]) -> Recorded:
        """Memory for steps like this one."""
        copies: dict[int, Tensor] = {}
        for tensor in step.batch:
            if isinstance(tensor, Tensor):  # one copy of images that student and teacher both see
                copies.setdefault(id(tensor), tensor.clone())
        batch = Batch(*(copies.get(id(part)) for part in step.batch))  # type: ignore[arg-type]
        return cls(step, batch, [tuple(part.clone() for part in answer) for answer in answers])

    def step(self) -> TrainingStep:
        """The step on this memory."""
        teacher = AskedBefore(self._batch, self._answers) if self._asks else None
        return self._step._replace(teacher=teacher)

    def fill(self, batch: Batch, answers: list[tuple[Tensor, ...]]) -> None:
        """Take over a batch and what the teacher says of it."""
        pairs = {id(kept): (kept, new) for kept, new in zip(self._batch, batch, strict=True)}
        for kept, new in pairs.values():
            if isinstance(kept, Tensor) and isinstance(new, Tensor):
                kept.copy_(new)
        for kept_answer, answer in zip(self._answers, answers, strict=True):
            for kept, new in zip(kept_answer, answer, strict=True):
                kept.copy_(new)


def _detached(losses: Losses) -> Losses:
    """Without the graph of autograd, whose nodes would keep the stream that they were made on."""
    terms = {name: term.detach() for name, term in losses.terms.items()}
    return Losses(losses.total.detach(), terms, losses.logits.detach())
