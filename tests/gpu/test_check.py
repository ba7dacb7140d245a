"""The check of a real GPU runs from end to end without one, notices what it is to notice, and says
what it could not look at."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdray.machine import hardware
from kdray.machine.gpus import Gpu
from kdray.models import size
from kdray.teachers import logits_cache
from kdray.trials.task import Reason, ReasonKind
from tests.benchmarks import frame
from tests.benchmarks.figures import Figure
from tests.benchmarks.networks import DATA, untrained
from tests.gpu.check import memory, sharing, switches
from tests.gpu.check.__main__ import CHECK, main
from tests.gpu.check.bounds import Cost, Peaks, counted
from tests.gpu.check.part import NEEDS_CUDA, CaseFailed, each_of, left_out, size_on
from tests.gpu.check.suite import repeated

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", CHECK.parts)
def test_a_part_is_tried_on_a_cpu_and_leaves_out_what_needs_cuda(name: str) -> None:
    figures: list[Figure] = list(importlib.import_module(f"tests.gpu.check.{name}").figures(CPU))
    assert [figure.line for figure in figures if figure.met is False] == []
    assert any(figure.values for figure in figures)
    assert {figure.note for figure in figures if not figure.values} <= {NEEDS_CUDA}
    assert len({figure.what for figure in figures}) == len(figures)


def test_every_part_has_a_share_of_the_time() -> None:
    assert CHECK.shares.keys() == CHECK.parts.keys()


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


def test_gradients_are_read_ahead_on_one_side_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logits_cache, "WINDOW", 4 * 16 * 3 * 32 * 32)  # of sixteen images
    read_ahead, counts = logits_cache.LogitsCache.read_ahead, []

    def counting(cache: logits_cache.LogitsCache, rows: logits_cache.Rows) -> Any:
        found = read_ahead(cache, rows)
        counts[-1] += found is not None
        return found

    monkeypatch.setattr(logits_cache.LogitsCache, "read_ahead", counting)
    switch = switches.SWITCHES["answers read ahead (L_G)"]
    for side in (switch.on, switch.off):
        counts.append(0)
        side.seconds(side.course(CPU))
    windows = switches.WINDOWS * size_on(CPU).images // 16
    assert counts == [windows - 1, 0]


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
