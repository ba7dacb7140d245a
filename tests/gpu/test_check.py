"""The check of a real GPU runs from end to end without one, notices what it is to notice, and says
what it could not look at."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdray.machine import hardware
from kdray.machine.gpus import Gpu
from kdray.methods import KD, GradientMatching, Method
from kdray.models import size
from kdray.results import Store
from kdray.trials.experiment import Experiment
from kdray.trials.task import Reason, ReasonKind
from tests.benchmarks import frame
from tests.benchmarks.figures import Figure
from tests.benchmarks.networks import DATA, untrained
from tests.gpu.check import memory, right, sharing, switches
from tests.gpu.check.__main__ import CHECK, main
from tests.gpu.check.bounds import Cost, Peaks, counted
from tests.gpu.check.part import NEEDS_CUDA, CaseFailed, each_of, left_out
from tests.gpu.check.right import Case, again, logits_gap, waits_of_steps
from tests.gpu.check.suite import repeated
from tests.gpu.check.trials import Stored, differences, student_in, with_teacher
from tests.gpu.check.waits import WAITED, Waits

CPU = torch.device("cpu")
SMALL = Case.of(KD())


@pytest.mark.parametrize("name", CHECK.parts)
def test_a_part_is_tried_on_a_cpu_and_leaves_out_what_needs_cuda(name: str) -> None:
    figures: list[Figure] = list(importlib.import_module(f"tests.gpu.check.{name}").figures(CPU))
    assert [figure.line for figure in figures if figure.met is False] == []
    assert any(figure.values for figure in figures)
    assert {figure.note for figure in figures if not figure.values} <= {NEEDS_CUDA}
    assert len({figure.what for figure in figures}) == len(figures)


def test_every_part_has_a_share_of_the_time() -> None:
    assert CHECK.shares.keys() == CHECK.parts.keys()


# Right


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return SMALL.experiment()


@pytest.fixture(scope="module")
def place(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained teacher and its student."""
    folder = with_teacher(experiment, tmp_path_factory.mktemp("results"), CPU)
    student_in(folder, experiment, CPU)
    return folder


@pytest.fixture
def stored(experiment: Experiment, place: Path) -> Stored:
    return Stored.of(Store(place), experiment.trial_id)


def test_what_a_trial_has_left_does_not_differ_from_itself(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    assert differences(stored, Stored.of(Store(place), experiment.trial_id)) == []
    assert stored.weights
    assert all(len(table) for table in stored.tables.values())


def changed(stored: Stored) -> str:
    """Change the last bit of one weight of ``stored``; the name of the tensor."""
    name = next(name for name, tensor in stored.weights.items() if tensor.is_floating_point())
    flat = stored.weights[name].flatten()
    flat[0] = torch.nextafter(flat[0], torch.tensor(torch.inf))
    stored.weights[name] = flat.view_as(stored.weights[name])
    return name


def test_one_bit_of_one_weight_is_a_difference(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    other = Stored.of(Store(place), experiment.trial_id)
    assert differences(stored, other) == []
    name = changed(other)
    assert differences(stored, other) == [name]
    del other.weights[name]
    assert differences(stored, other) == [name]


def test_a_changed_number_of_a_table_is_a_difference_and_a_time_is_none(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    other = Stored.of(Store(place), experiment.trial_id)
    assert {"images_per_second", "peak_memory", "train_seconds"}.isdisjoint(other.tables["trials"])
    other.tables["epochs"]["loss"] *= 1 + 1e-15
    assert differences(stored, other) == ["epochs.loss"]
    other.tables["robustness"] = other.tables["robustness"].iloc[1:]
    assert "robustness.value" in differences(stored, other)


def test_a_planted_difference_misses_the_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = right.student_in

    def planted(*given: Any, stops: bool = False, **named: Any) -> Stored:
        found = trained(*given, stops=stops, **named)
        if stops:
            changed(found)
        return found

    monkeypatch.setattr(right, "student_in", planted)
    figures = {figure.what: figure for figure in again(SMALL, CPU)}
    assert figures[f"{SMALL.name}, trained again"].met is True
    resumed = figures[f"{SMALL.name}, stopped and resumed"]
    assert (resumed.met, resumed.values) == (False, (1.0,))
    assert resumed.note  # which tensor


def test_every_way_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere = tuple(way._replace(needs_cuda=False) for way in right.WAYS)
    monkeypatch.setattr(right, "WAYS", anywhere)
    *figures, beside = again(SMALL, CPU)
    assert [figure.met for figure in figures] == [True] * len(right.ways(SMALL.method))
    assert beside.note == NEEDS_CUDA


def test_logits_of_one_device_are_no_way_apart(experiment: Experiment, place: Path) -> None:
    assert logits_gap(experiment, Store(place), CPU, CPU) == 0


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes in which torch was told to watch for waits."""
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", told.append)
    return told


def test_waits_are_counted_by_step(modes: list[str]) -> None:
    module = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    with Waits() as counting:
        for count in (5, 0, 2):
            for _ in range(count):
                warnings.warn(WAITED, stacklevel=1)
            warnings.warn("something else", stacklevel=1)
            module(torch.ones(2)).sum().backward()
            optimizer.step()
        warnings.warn(WAITED, stacklevel=1)
    optimizer.step()
    none, two = counting.of_steps()
    assert none == []
    assert len(two) == 2
    assert two[0].startswith("gpu/test_check.py:")
    assert modes == ["warn", "default"]


@pytest.mark.usefixtures("modes")
@pytest.mark.parametrize("method", [KD(), GradientMatching()])
def test_all_steps_of_an_epoch_but_the_first_are_looked_at(method: Method) -> None:
    case = Case.of(method)
    images = len(case.experiment().data.load(Path("/nowhere")).train.labels)
    assert waits_of_steps(case, CPU) == [[]] * (-(-images // 16) - 1)


# Bounds


def test_the_arithmetic_of_a_forward_pass_is_twice_its_multiplications() -> None:
    classifier = untrained("WRN-16-2").eval().requires_grad_(False)
    images = torch.rand(2, *DATA.shape)
    cost = counted(partial(classifier.logits, images)).by(2)
    assert cost.flops == 2 * size(classifier, DATA.shape).macs


def test_the_bytes_of_an_operator_are_what_it_reads_and_writes() -> None:
    one, other = torch.rand(8, 4), torch.rand(4)
    assert counted(lambda: one + other) == Cost(0, 4 * (32 + 4 + 32))
    assert counted(lambda: one + one).bytes == 4 * (32 + 32)
    assert counted(lambda: one.t().view(-1, 2, 4)[0].expand(2, 2, 4)) == Cost(0, 0)
    assert counted(lambda: other.expand(100, 4).clone()).bytes == 4 * (4 + 400)
    assert counted(lambda: torch.cat([one, one.mul(2)])).bytes == 4 * (32 + 32 + 32 + 32 + 64)


def test_a_backward_pass_to_images_alone_is_counted() -> None:
    images, weight = torch.rand(3, 5, requires_grad=True), torch.rand(5, 7)
    found = counted(lambda: torch.autograd.grad((images @ weight).sum(), images))
    assert found.flops == 2 * (2 * 3 * 5 * 7)


def test_a_bound_is_how_often_the_peak_holds_the_cost() -> None:
    assert Peaks(1e12, 1e9).rates(Cost(1e6, 1e5)) == (1e6, 1e4)


# Memory, sharing, suite, switches


@pytest.mark.parametrize(
    ("reason", "met"),
    [
        (Reason(kind=ReasonKind.MEMORY, text="CUDA out of memory"), True),
        (Reason(kind=ReasonKind.EXPERIMENT, text="CUDA out of memory"), False),
        (None, False),
    ],
)
def test_only_what_is_told_as_a_lack_of_memory_is_known(reason: Reason | None, met: bool) -> None:
    assert memory.known_as_memory("a trial", reason).met is met


@pytest.mark.parametrize(
    ("part", "met"), [(0.95, (True, True)), (1.01, (False, True)), (0.5, (True, False))]
)
def test_a_cap_permits_the_share_less_the_context(
    part: float, met: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    total, capped = 10 * 2**30, []
    taken = int(part * (memory.SHARE * total - hardware.CONTEXT))
    reason = Reason(kind=ReasonKind.MEMORY, text="CUDA out of memory")
    monkeypatch.setattr(hardware, "device_memory", lambda device: total)
    monkeypatch.setattr(hardware, "cap_memory", lambda device, share: capped.append(share))
    monkeypatch.setattr(memory, "taken_before_error", lambda device: (taken, reason))
    no_more, hardly_less, known = memory.cap(CPU)
    assert (no_more.met, hardly_less.met, known.met) == (*met, True)
    assert capped == [memory.SHARE, 1]


def test_the_network_whose_memory_is_measured_is_wrn_16_2_taught_by_wrn_40_2() -> None:
    described = memory.wide()
    assert described.teacher is not None
    assert [each.network[0].depth for each in (described, described.teacher)] == [16, 40]


def test_a_process_that_ends_too_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing.sys, "executable", "false")
    neighbour = sharing.Neighbour(CPU, 0.5)
    with neighbour.process, pytest.raises(sharing.NeighbourFailed, match="ended with status 1"):
        neighbour.answer()


@pytest.mark.parametrize(
    ("count", "mode", "reason"),
    [
        (1, "Exclusive_Process", None),
        (2, "Exclusive_Process", "lets in one process at a time"),
        (8, "Default", None),
        (9, "Default", "each may need 2 GiB"),
    ],
)
def test_more_trials_than_a_gpu_lets_in_are_left_out(
    count: int, mode: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu("0", "GPU-0", "small", 16 * 2**30, mode, mig=False)
    monkeypatch.setattr(hardware, "device_memory", lambda device: gpu.memory)
    monkeypatch.setattr(sharing, "visible_gpus", lambda: [gpu])
    monkeypatch.setattr(sharing, "multi_process_service", lambda: None)
    said = sharing.refusal(count, torch.device("cuda", 0))
    assert (said is None) if reason is None else (reason in str(said))


def test_a_count_that_is_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "refusal", lambda count, device: "no room" if count > 1 else None)
    monkeypatch.setattr(sharing, "rates_of", lambda counts, device: dict.fromkeys(counts, 5.0))
    one, two = sharing.figures(CPU)
    assert (one.values, two.values, two.note) == ((5.0,), (), "no room")


def test_few_images_are_repeated() -> None:
    test = DATA.load(Path()).test.first(3)
    assert repeated(test, 7).labels.tolist() == (test.labels.tolist() * 3)[:7]


def test_a_switch_is_back_where_it_was_afterwards() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(True)
        for around in (switches.not_repeatable, switches.filling_memory, switches.unfused):
            with around():
                pass
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert switches.optimizers.fuses(nn.Linear(1, 1)) is None
    finally:
        torch.use_deterministic_algorithms(before)


# The whole


def test_a_case_that_fails_keeps_no_other_from_being_measured() -> None:
    measured = Figure("good", (1.0,), "s")

    def breaks() -> Iterator[Figure]:
        yield Figure("before it broke", (1.0,), "s")
        raise OSError("no driver")

    figures = each_of({"broken": breaks, "good": lambda: iter([measured])})
    assert [next(figures).what, next(figures).note] == [
        "before it broke",
        "failed: OSError: no driver",
    ]
    assert next(figures) == measured
    with pytest.raises(CaseFailed, match="broken"):
        next(figures)


def test_without_a_gpu_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "--device cpu" in said.err


def program(figure: Figure, status: int) -> Callable[[str, Path, Sequence[str]], list[str]]:
    """In place of a part: it writes a figure and ends with a status."""

    def command(module: str, file: Path, options: Sequence[str]) -> list[str]:
        assert list(options) == ["--device", "cpu"]
        text = f"open({str(file)!r}, 'w').write({json.dumps(figure) + chr(10)!r}); raise SystemExit({status})"
        return [sys.executable, "-S", "-c", text]

    return command


@pytest.mark.parametrize(
    ("aim", "status", "expected"), [("<= 1", 0, 0), ("<= 0", 0, 1), (None, 3, 1)]
)
def test_a_missed_aim_and_a_failed_part_are_an_exit_status(
    aim: str | None, status: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "command", program(Figure("bits", (1.0,), "x", aim), status))
    out = tmp_path / "gpu.md"
    assert main(["right", "memory", "--device", "cpu", "--out", str(out)]) == expected
    assert out.read_text().count("| bits | 1 |") == 2


def test_what_only_cuda_has_is_no_missed_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "command", program(left_out("bits"), 0))
    assert main(["right", "--device", "cpu"]) == 0
