"""How many trials run at once, and the refusal of what could never run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray import machine
from kdray.core import InputError
from kdray.sweep.file import Request
from kdray.sweep.resources import Node, at_once, check, this_machine


@pytest.mark.parametrize(
    ("cpu", "gpu", "nodes", "at_most"),
    [
        (1, 0.4, [(16, 1)], 2),  # 0.2 of the GPU is left over
        (1, 0.4, [(16, 3)], 6),  # a trial's part lies on one GPU
        (1, 0.1, [(100, 1)], 10),
        (1, 1 / 3, [(16, 1)], 3),
        (1, 0.25, [(2, 1)], 2),  # CPUs limit too
        (1, 1, [(16, 3)], 3),
        (1, 2, [(16, 3)], 1),
        (4, 0, [(16, 0)], 4),
        (0.5, 0, [(2, 0)], 4),
        (0.1, 0, [(0.3, 0)], 3),
        (3, 0, [(4, 0), (4, 0)], 2),  # no trial lies on two nodes
        (1, 0.5, [(16, 1), (1, 4), (8, 0)], 3),
        (8, 0, [(4, 0), (4, 0)], 0),
        (1, 0.5, [(8, 0)], 0),
    ],
)
def test_so_many_trials_run_at_once(cpu: float, gpu: float, nodes: list[tuple[float, float]], at_most: int) -> None:
    request = Request(cpu=float(cpu), gpu=float(gpu))
    assert at_once(request, [Node("n", *each) for each in nodes]) == at_most


@given(
    cpu=st.sampled_from([0.5, 1.0, 2.0]), gpu=st.sampled_from([0.0, 0.2, 0.3, 0.5, 1.0, 2.0]), limit=st.integers(1, 5)
)
def test_a_limit_is_kept_and_what_it_allows_fits(cpu: float, gpu: float, limit: int) -> None:
    request, node = Request(cpu=cpu, gpu=gpu), Node("n", 8, 2)
    free, limited = at_once(request, [node]), at_once(request, [node], limit)
    assert limited == min(free, limit)
    assert limited * cpu <= node.cpu
    assert limited * gpu <= node.gpu + 1e-9


def test_more_gpu_than_any_node_has_is_refused_with_the_largest_node() -> None:
    nodes = [Node("small", 64, 1), Node("large", 4, 2)]
    with pytest.raises(
        InputError, match=r"resources\.teacher\.gpu: 4 asked for, there is at most 2 on large; .*gpu=0 runs"
    ):
        check("teacher", Request(gpu=4.0), nodes)
    with pytest.raises(InputError, match=r"resources\.student\.gpu: 0\.5 asked for, there is at most none"):
        check("student", Request(gpu=0.5), [Node("n", 4, 0)])


def test_more_cpus_than_any_node_has_is_refused_with_the_largest_node() -> None:
    nodes = [Node("small", 2, 0), Node("large", 4, 0)]
    with pytest.raises(InputError, match=r"resources\.student\.cpu: 8 asked for, the largest node \(large\) has 4"):
        check("student", Request(cpu=8.0), nodes)
    check("student", Request(cpu=4.0), nodes)


def test_a_request_that_no_single_node_can_meet_says_so() -> None:
    nodes = [Node("many-cpus", 64, 0), Node("gpu", 2, 1)]
    with pytest.raises(InputError) as raised:
        check("student", Request(cpu=8.0, gpu=1.0), nodes)
    assert "has 64" not in str(raised.value)


def test_this_machine_offers_what_it_has_or_what_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert this_machine() == Node("this machine", machine.cpus(), 2)
    assert this_machine(8, 1) == Node("this machine", 8, 1)
    assert this_machine(gpus=0).gpu == 0
    with pytest.raises(InputError, match=r"--gpus 3: this machine has 2"):
        this_machine(gpus=3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match=r"--gpus 1: this machine has none"):
        this_machine(gpus=1)
