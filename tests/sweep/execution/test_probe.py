"""What one trial needs of a GPU, measured by a stand-in where there is none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, canonical, parse
from kdray.core.wording import GIB
from kdray.machine import hardware
from kdray.methods import IAD, TRADES
from kdray.methods.weight_perturbation import WeightPerturbation
from kdray.models import Classifier
from kdray.robustness.base import BLOCK
from kdray.sweep.execution import appetite as counting
from kdray.sweep.execution import probe as module
from kdray.sweep.execution import rehearsal
from kdray.sweep.execution.appetite import Kept, appetite, hungriest
from kdray.sweep.execution.probe import CudaMeter, probe
from kdray.sweep.execution.rehearsal import brief, rehearse
from kdray.training import train
from kdray.training.compute import ComputeOptions
from kdray.trials.task import Measured, Reason, ReasonKind, Task
from tests.small_trials import CPU, NOWHERE, distillation, experiment, fresh, setup, teacher_of

PGD = {"name": "pgd", "epsilon": 0.1, "step_size": 0.1, "steps": 20, "restarts": 5}
WIDE = {"name": "mlp", "hidden": [256]}


@dataclass
class Scale:
    """A meter that shows what it is told."""

    total_: float
    context_: float = 0.25
    peak_: float = 1.0
    busy_: float | None = None
    timed: int = 0

    @contextmanager
    def timing(self) -> Iterator[None]:
        yield
        self.timed += 1

    def busy(self) -> float | None:
        return self.busy_

    def total(self) -> int:
        return int(self.total_ * GIB)

    def context(self) -> int:
        return int(self.context_ * GIB)

    def peak(self) -> int:
        return int(self.peak_ * GIB)


def task(*evaluations: dict[str, Any], of: Any = None, **fields: Any) -> Task:
    described = canonical(of or experiment())
    return parse(
        Task,
        {"role": "student", "experiment": described, "evaluations": list(evaluations), **fields},
    )


def measured(meter: Scale, *candidates: Task) -> module.Need:
    return probe(candidates or [task()], data_root=NOWHERE, device=CPU, meter=meter, threads=1)


def batch(size: int, **fields: Any) -> Task:
    return task(of=experiment(training={"epochs": 3, "batch_size": size}, **fields))


def test_the_share_holds_peak_and_context_with_head_room() -> None:
    need = measured(Scale(16, context_=1, peak_=3))
    assert need.needed == 4 * GIB
    assert need.share == 1 / 3  # 3 x 4 x 1.15 = 13.8 GiB fit, 4 x 4 x 1.15 = 18.4 do not
    assert need.trial_id == task().experiment.trial_id
    assert need.context == GIB
    assert str(need) == "4.00 of 16.00 GiB (how busy it keeps the GPU could not be told)"


def test_a_small_context_counts_as_much_as_the_cap_takes_off_for_it() -> None:
    need = measured(Scale(8, context_=0.1, peak_=0.05))
    cap = need.share * need.total - hardware.CONTEXT
    assert cap > 0.05 * GIB


@pytest.mark.parametrize(
    ("busy", "n", "limit"),
    [
        (0.3, 4, "time"),  # three keep it busy for nine tenths of its time
        (0.25, 4, "time"),
        (0.249, 4, "time"),  # a fifth would have a hundredth of it
        (0.9, 2, "time"),
        (1.0, 1, "time"),
        (0.98, 1, "time"),
        (0.02, 12, "memory"),
        (1e-9, 12, "memory"),
    ],
)
def test_no_more_share_a_gpu_than_its_time_holds(busy: float, n: int, limit: str) -> None:
    scale = Scale(16, context_=0.65, peak_=0.45, busy_=busy)
    need = measured(scale)
    assert scale.timed == 1
    assert need.share == 1 / n
    assert str(need).endswith(f": {limit} limits")


def test_what_only_measures_is_not_timed() -> None:
    scale = Scale(8)
    assert measured(scale, task({"name": "clean"}, train=False)).busy is None
    assert scale.timed == 0


def test_what_fits_only_without_head_room_has_a_whole_gpu() -> None:
    assert measured(Scale(4, context_=1, peak_=2.9)).share == 1.0


def test_more_than_a_gpu_has_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"trial [0-9a-f]{16} \(batches of 50\) needs 9 GiB, more than the 8 GiB of a GPU; .*",
    ):
        measured(Scale(8, context_=1, peak_=8))


def test_running_out_of_memory_is_more_than_a_gpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = Reason(kind=ReasonKind.MEMORY, text="OutOfMemoryError: CUDA out of memory.")
    full = Measured(evaluation_id="0", label="pgd", done=0, metrics={}, reason=reason)
    monkeypatch.setattr(rehearsal, "evaluate", lambda *_: full)
    assert measured(Scale(8)).needed
    with pytest.raises(
        InputError, match=r"needs more than the 8 GiB of a GPU; make training\.batch_size"
    ):
        measured(Scale(8), task({"name": "clean"}))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"teacher": {"model": WIDE}, "method": {"name": "kd"}},
        {
            "method": {
                "name": "adversarial",
                "attack": {"epsilon": 0.1, "step_size": 0.05, "steps": 10},
            }
        },
    ],
)
def test_a_rehearsal_keeps_as_much_as_the_training_itself(fields: dict[str, Any]) -> None:
    if "teacher" in fields:
        fields = {**fields, "teacher": {**canonical(experiment()), **fields["teacher"]}}
    described = experiment(**fields)
    state = fresh(described, teacher_of(described) if described.teacher else None)
    with Kept() as real:
        next(
            train(
                state,
                setup(described, teacher=teacher_of(described) if described.teacher else None),
            )
        )
    with Kept() as rehearsed:
        rehearse(task(of=described), data_root=NOWHERE, device=CPU)
    assert real.peak == rehearsed.peak > 50 * 64 * 4  # a batch of images at least


@pytest.mark.parametrize("wanted", [False, True])
def test_it_trains_by_the_kernels_that_trials_are_trained_by(
    wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out, before = [], rehearsal.train_epoch

    def noted(state: Any, *given: Any) -> Any:
        weight = next(
            each for each in state.classifier.parameters() if each.ndim == 4 and each.shape[1] > 1
        )
        laid_out.append(weight.is_contiguous(memory_format=torch.channels_last))
        return before(state, *given)

    monkeypatch.setattr(rehearsal, "train_epoch", noted)
    described = experiment(
        model={"name": "wide_resnet", "depth": 10, "width": 1}, data={"name": "digits", "resize": 8}
    )
    rehearse(
        task(of=described),
        data_root=NOWHERE,
        device=CPU,
        kernels=ComputeOptions(channels_last=wanted),
    )
    assert laid_out == [wanted]


def test_a_worker_probes_with_the_kernels_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted, seen = ComputeOptions(channels_last=True, compile=True), []
    granted = SimpleNamespace(get_accelerator_ids=lambda: {"GPU": []})
    monkeypatch.setattr("ray.get_runtime_context", lambda: granted)
    monkeypatch.setattr(module, "CudaMeter", lambda _: Scale(8))
    monkeypatch.setattr(module, "rehearse", lambda *_, kernels, **__: seen.append(kernels))
    need = module._in_worker([task().model_dump_json()], str(NOWHERE), 1, wanted.model_dump_json())
    assert isinstance(need, module.Need)
    assert seen == [wanted]


def test_it_trains_every_stage_and_monitors_though_a_trial_would_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, bool]] = []
    before = rehearsal.train_epoch

    def noted(*given: Any) -> Any:
        epoch = before(*given)
        seen.append((epoch.stage, bool(epoch.measured)))
        return epoch

    monkeypatch.setattr(rehearsal, "train_epoch", noted)
    monitor = {"every": 3, "suite": [{"name": "gaussian_noise", "split": "val", "sigmas": [0.1]}]}
    hints = {"name": "fitnet", "hint_epochs": 2}
    training = {"epochs": 3, "batch_size": 50, "monitor": monitor}
    rehearse(task(of=distillation(method=hints, training=training)), data_root=NOWHERE, device=CPU)
    assert seen == [("hint", False), ("main", True)]


def test_every_evaluation_gets_one_block_and_few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    before = rehearsal.evaluate

    def noted(evaluation: Any, classifier: Any, given: Any, dataset: Any, bench: Any) -> Any:
        shown.append(evaluation)
        measured = before(evaluation, classifier, given, dataset, bench)
        assert measured.reason is None
        return measured

    monkeypatch.setattr(rehearsal, "evaluate", noted)
    rehearse(task(PGD, {"name": "clean"}), data_root=NOWHERE, device=CPU)
    assert [evaluation.name for evaluation in shown] == ["pgd", "clean"]
    assert {evaluation.examples for evaluation in shown} == {BLOCK}
    assert (shown[0].steps, shown[0].restarts, shown[0].epsilon) == (3, 2, 0.1)


def test_what_is_brief_keeps_all_that_has_a_size() -> None:
    smoothing = {"samples": 512, "sigma": 0.1}
    whole = task(
        {**PGD, "smoothing": smoothing}, of=distillation(supervision={"smoothing": smoothing})
    )
    short = brief(whole)
    assert short.evaluations[0].smoothing is not None
    assert short.evaluations[0].smoothing.samples == 2
    assert short.experiment.supervision.smoothing is not None
    assert short.experiment.supervision.smoothing.samples == 2
    assert short.experiment.training == whole.experiment.training
    assert short.experiment.model == whole.experiment.model


def test_nothing_is_left_and_no_random_number_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = torch.get_rng_state()
    rehearse(task(PGD, of=distillation()), data_root=NOWHERE, device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_stops_nothing() -> None:
    wild = {"epochs": 1, "batch_size": 50, "optimizer": {"name": "sgd", "learning_rate": 1e30}}
    rehearse(task(of=experiment(training=wild)), data_root=NOWHERE, device=CPU)


ROBUST = {"name": "adversarial", "attack": {"epsilon": 0.1, "step_size": 0.05, "steps": 3}}


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (batch(50), batch(100)),
        (batch(50), batch(50, model=WIDE)),
        (
            batch(50, method=ROBUST | {"mix": 1.0}),
            batch(50, method=ROBUST),
        ),  # one half's graph, or both at once
        (task(of=distillation()), task(of=distillation(method={"name": "gradient_matching"}))),
        (task(of=distillation()), task(of=distillation(teacher=canonical(experiment(model=WIDE))))),
        (batch(10), task(PGD, of=batch(10).experiment)),  # a block of 250 is larger than the batch
    ],
    ids=["batch", "model", "adversarial", "gradients", "teacher", "evaluation"],
)
def test_who_needs_more_is_hungrier(small: Task, large: Task) -> None:
    assert appetite(small, NOWHERE) < appetite(large, NOWHERE)
    for candidates in ([small, large], [large, small]):
        assert hungriest(candidates, data_root=NOWHERE) is large


def test_the_appetite_is_that_of_a_whole_step() -> None:
    described = experiment(training={"epochs": 1, "batch_size": 40})
    with Kept() as real:
        next(train(fresh(described), setup(described)))
    weights = 4 * (64 * 16 + 16 + 16 * 10 + 10)
    assert appetite(task(of=described), NOWHERE) == pytest.approx(real.peak + 4 * weights, rel=0.01)


def test_numbers_that_change_no_size_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> float:
        raise AssertionError

    monkeypatch.setattr(counting, "appetite", never)
    sigmas: Sequence[Task] = [
        task(of=experiment(noise={"input": {"name": "gaussian", "sigma": sigma}}, seed=seed))
        for seed, sigma in enumerate((0.1, 0.2, 0.3))
    ]
    assert hungriest(sigmas, data_root=NOWHERE) is sigmas[0]
    with pytest.raises(AssertionError):
        hungriest([*sigmas, task()], data_root=NOWHERE)


def test_what_is_kept_counts_once_and_only_while_it_is_kept() -> None:
    x = torch.ones(1000, requires_grad=True)
    with Kept() as kept:
        first = x.exp()  # keeps its result, 4,000 bytes
        assert kept.peak == 4000
        second = first.exp()  # one more; and not its argument
        third = first * first.detach()  # keeps the first result, which is counted already
        assert kept.peak == 8000
        del second
        third.sum().backward()
        del third
        x.exp().sum().backward()
    assert kept.peak == 8000


def test_parameters_are_there_whoever_keeps_them() -> None:
    layer, images = torch.nn.Linear(100, 50), torch.ones(2, 100, requires_grad=True)
    with Kept() as kept:
        layer(images).sum().backward()
    assert kept.peak == images.nbytes


def test_a_probe_asks_its_teacher_whatever_others_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path))
    asked: list[int] = []
    logits = Classifier.logits

    def counting(self: Classifier, images: Tensor) -> Tensor:
        asked.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(Classifier, "logits", counting)
    student = Task(role="student", experiment=distillation())
    counts = []
    for _ in range(2):
        asked.clear()
        rehearse(student, data_root=NOWHERE, device=CPU)
        counts.append(list(asked))
    assert counts[0] == counts[1]
    assert list(tmp_path.rglob("*.table")) == []


def test_cuda_is_started_before_its_memory_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def reset(_: torch.device) -> None:
        assert done == ["init"], "Invalid device argument : did you call init?"  # as torch says it

    monkeypatch.setattr("torch.cuda.init", lambda: done.append("init"))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", reset)
    CudaMeter(torch.device("cuda", 0))


def test_what_begins_after_some_epochs_is_rehearsed_from_the_first() -> None:
    perturbed = TRADES(weight_perturbation=WeightPerturbation(warmup=5))
    assert brief(perturbed).weight_perturbation == WeightPerturbation(warmup=0)
    assert brief(IAD()).warmup == 0


def test_a_gpu_is_busy_while_its_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels and copies count, and no call on the CPU's side; seconds are the clock's."""

    def event(device: str, microseconds: float) -> SimpleNamespace:
        kind = SimpleNamespace(name=device)
        return SimpleNamespace(device_type=kind, device_time_total=microseconds)

    seen = [event("CUDA", 200_000.0), event("CUDA", 100_000.0), event("CPU", 300_000.0)]
    clock = iter([10.0, 11.0, 20.0, 21.0])
    for name in ("init", "reset_peak_memory_stats", "synchronize"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda *_: None)
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(
        module, "profile", lambda **_: nullcontext(SimpleNamespace(events=lambda: seen))
    )
    meter = CudaMeter(torch.device("cuda", 0))
    assert meter.busy() is None
    with meter.timing():
        pass
    assert meter.busy() == pytest.approx(0.3)
    seen.clear()  # a machine that does not let the profiler look
    with meter.timing():
        pass
    assert meter.busy() is None


def test_the_profiler_gives_what_is_read_of_it() -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        torch.ones(2).sum()
    events = profiler.events()
    assert events
    assert {(each.device_type.name, each.device_time_total) for each in events} == {("CPU", 0)}
