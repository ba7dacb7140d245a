"""How many trials run at once, and the refusal of what could never run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdray.core import InputError, parse
from kdray.core.wording import GIB
from kdray.machine import hardware
from kdray.machine.gpus import Gpu
from kdray.sweep.definition.file import Request
from kdray.sweep.execution.probe import measured
from kdray.sweep.execution.resources import (
    MAX_TRIALS_PER_GPU,
    OBJECT_STORE_BYTES,
    Node,
    Share,
    at_once,
    bundle,
    check,
    concurrency,
    gpus_of,
    granted,
    memory_bytes,
    share_for,
    shares,
    suggested,
    this_machine,
)
from kdray.training.compute import ComputeOptions
from kdray.trials.grant import Grant
from kdray.trials.task import Task
from tests.small_trials import NOWHERE, experiment


@pytest.mark.parametrize(
    ("cpu", "gpu", "nodes", "at_most"),
    [
        (1, 0.4, [(16, 1)], 2),  # 0.2 of the GPU is left over
        (1, 0.4, [(16, 3)], 6),  # a trial's part lies on one GPU
        (1, 0.1, [(100, 1)], 10),
        (1, 1 / 3, [(16, 1)], 3),
        (1, 0.25, [(2, 1)], 2),  # CPUs limit too
        (1, 1, [(16, 3)], 3),
        (4, 0, [(16, 0)], 4),
        (0.5, 0, [(2, 0)], 4),
        (0.1, 0, [(0.3, 0)], 3),
        (3, 0, [(4, 0), (4, 0)], 2),  # no trial lies on two nodes
        (1, 0.5, [(16, 1), (1, 4), (8, 0)], 3),
        (8, 0, [(4, 0), (4, 0)], 0),
        (1, 0.5, [(8, 0)], 0),
    ],
)
def test_so_many_trials_run_at_once(
    cpu: float, gpu: float, nodes: list[tuple[float, float]], at_most: int
) -> None:
    request = Request(cpu=float(cpu), gpu=float(gpu))
    assert at_once(request, [Node("n", *each) for each in nodes]) == at_most


@given(
    cpu=st.sampled_from([0.5, 1.0, 2.0]),
    gpu=st.sampled_from([0.0, 0.2, 0.3, 0.5, 1.0]),
    limit=st.integers(1, 5),
)
def test_a_limit_is_kept_and_what_it_allows_fits(cpu: float, gpu: float, limit: int) -> None:
    request, node = Request(cpu=cpu, gpu=gpu), Node("n", 8, 2)
    free, limited = at_once(request, [node]), at_once(request, [node], limit)
    assert limited == min(free, limit)
    assert limited * cpu <= node.cpu
    assert limited * gpu <= node.gpu + 1e-9


def test_more_gpu_than_any_node_has_is_refused_with_the_largest_node() -> None:
    nodes = [Node("small", 64, 0.25), Node("large", 4, 0.5)]
    with pytest.raises(
        InputError,
        match=r"resources\.teacher\.gpu: 1 asked for, there is at most 0\.5 on large; .*gpu=0 ru",
    ):
        check("teacher", Request(gpu=1.0), nodes)
    with pytest.raises(
        InputError, match=r"resources\.student\.gpu: 0\.5 asked for, there is at most none"
    ):
        check("student", Request(gpu=0.5), [Node("n", 4, 0)])


def test_more_cpus_than_any_node_has_is_refused_with_the_largest_node() -> None:
    nodes = [Node("small", 2, 0), Node("large", 4, 0)]
    with pytest.raises(
        InputError, match=r"resources\.student\.cpu: 8 asked for, the largest node \(large\) has 4"
    ):
        check("student", Request(cpu=8.0), nodes)
    check("student", Request(cpu=4.0), nodes)


def test_a_request_that_no_single_node_can_meet_says_so() -> None:
    nodes = [Node("many-cpus", 64, 0), Node("gpu", 2, 1)]
    with pytest.raises(InputError) as raised:
        check("student", Request(cpu=8.0, gpu=1.0), nodes)
    assert "has 64" not in str(raised.value)


AUTO = parse(Request, {"gpu": "auto"})


def test_memory_limits_too() -> None:
    request = Request(memory=3.0)
    assert at_once(request, [Node("n", 16, 0, 8.0), Node("m", 1, 0, 64.0)]) == 2 + 1
    assert at_once(request, [Node("n", 16, 0, 6.0)]) == 2
    assert at_once(request, [Node("n", 16, 0, 2.9)]) == 0
    assert at_once(request, [Node("n", 16, 0)]) == 16  # nobody has said how much there is
    assert at_once(Request(), [Node("n", 16, 0, 0.1)]) == 16  # and nobody has asked


def test_what_limits_each_node_is_told() -> None:
    request = Request(cpu=2.0, gpu=0.5, memory=4.0)
    nodes = [Node("gpu", 64, 1, 64.0), Node("cpu", 2, 1, 64.0), Node("ram", 64, 4, 9.0)]
    assert shares(request, nodes) == [
        Share("gpu", 2, "GPU"),
        Share("cpu", 1, "CPU"),
        Share("ram", 2, "memory"),
    ]
    assert concurrency(request, nodes) == (
        "5 at once (gpu: 2, limited by GPU; cpu: 1, limited by CPU; ram: 2, limited by memory)"
    )


def test_the_limit_is_told_once_where_there_is_one_node_or_one_limit() -> None:
    request = Request(gpu=0.5)
    assert concurrency(request, [Node("n", 16, 1)]) == "2 at once, limited by GPU"
    assert (
        concurrency(request, [Node("n", 16, 1), Node("m", 16, 4)], 3)
        == "3 at once, limited by --max-concurrent"
    )
    assert (
        concurrency(request, [Node("n", 16, 1)], 2) == "2 at once, limited by GPU"
    )  # it takes nothing away
    many = [Node(f"n{index}", 16, 1) for index in range(8)]
    assert concurrency(request, many) == "16 at once (n0 and 7 like it, each: 2, limited by GPU)"
    assert (
        concurrency(request, [*many[:1], Node("cpus", 16, 0)])
        == "2 at once (n0: 2, limited by GPU)"
    )


def test_more_memory_than_any_node_has_is_refused_with_the_largest_node() -> None:
    nodes = [Node("small", 64, 0, 16.0), Node("large", 4, 0, 32.0)]
    with pytest.raises(
        InputError,
        match=r"student\.memory: 64 GiB asked for, the largest node \(large\) has 32 GiB",
    ):
        check("student", Request(memory=64.0), nodes)
    with pytest.raises(
        InputError,
        match=r"no node has 8 CPUs and 20 GiB of memory together \(large has 4 CPUs, 0 GPUs and 32",
    ):
        check("student", Request(cpu=8.0, memory=20.0), nodes)


def test_auto_is_a_whole_gpu_until_it_is_measured() -> None:
    assert gpus_of(AUTO) == 1.0
    assert at_once(AUTO, [Node("n", 16, 2)]) == 2
    with pytest.raises(
        InputError,
        match=r"student\.gpu: auto shares a GPU, there is at most none; --set .*gpu=0 runs",
    ):
        check("student", AUTO, [Node("n", 16, 0)])


@given(need=st.integers(1, 200), total=st.integers(1, 200))
def test_as_many_share_a_gpu_as_fit_with_head_room(need: int, total: int) -> None:
    share = share_for(need * GIB, total * GIB)
    n = at_once(Request(cpu=0.01, gpu=share), [Node("n", 64, 1)])
    assert n == 1 or n * need * 1.15 <= total
    assert n == MAX_TRIALS_PER_GPU or (n + 1) * need * 1.15 > total


def test_every_share_is_one_that_ray_counts() -> None:
    for n in range(1, MAX_TRIALS_PER_GPU + 1):
        assert (
            at_once(Request(cpu=0.01, gpu=share_for(100, round(115.001 * n))), [Node("n", 64, 1)])
            == n
        )


def table(**columns: list[Any]) -> pd.DataFrame:
    columns = {"gpu_busy": None, **columns}
    return pd.DataFrame({"role": "student", "status": "completed", **columns})


def test_earlier_trials_suggest_a_share() -> None:
    ran = table(
        peak_memory=[2 * GIB, 3 * GIB, 90 * GIB], device_memory=[80 * GIB, 16 * GIB, None]
    )  # the last on a CPU
    assert suggested(ran, "student") == (
        0.25,
        "memory",
    )  # 4 x 3 x 1.15 = 13.8 GiB of the smaller GPU
    assert suggested(ran, "teacher") is None
    assert suggested(ran.assign(status="failed"), "student") is None
    assert suggested(ran.iloc[2:], "student") is None
    assert suggested(table(peak_memory=[15 * GIB], device_memory=[16 * GIB]), "student") == (
        1.0,
        "memory",
    )
    ran["gpu_busy"] = [0.1, 0.6, 0.9]
    assert suggested(ran, "student") == (0.5, "time"), "two fill the GPU's time"


def test_a_trial_is_granted_what_its_role_asks_for() -> None:
    compute = ComputeOptions(compile=True)
    request = Request(cpu=2.0, gpu=0.5, memory=4.0, hours=1.0, kernels=compute)
    grant = Grant(cpu=2.0, gpu=0.5, memory=4.0, hours=1.0, compute=compute)
    assert granted(request) == grant
    assert bundle(grant) == {"CPU": 2.0, "GPU": 0.5, "memory": 4 * GIB}
    assert bundle(Grant()) == {"CPU": 1.0, "GPU": 0.0}


def test_this_machine_offers_what_it_has_or_what_the_user_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(hardware, "free_memory", lambda: 3 * GIB + OBJECT_STORE_BYTES)
    assert this_machine() == Node("this machine", hardware.cpus(), 2, 3)
    assert this_machine(8, 1) == Node("this machine", 8, 1, 3)
    assert this_machine(gpus=0).gpu == 0
    with pytest.raises(InputError, match=r"--gpus 3: this machine has 2"):
        this_machine(gpus=3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match=r"--gpus 1: this machine has none"):
        this_machine(gpus=1)


CPUS, GPUS, MEMORY = 16, 2, 8.0


@pytest.fixture(scope="module")
def two_gpus_declared() -> Iterator[None]:
    """A Ray that counts more than the machine has."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=CPUS,
            num_gpus=GPUS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="CRITICAL",
            object_store_memory=100 * 2**20,
            _memory=int(MEMORY * GIB),
        )
        yield
        ray.shutdown()


@pytest.mark.ray
def test_ray_runs_as_many_at_once_as_are_counted(two_gpus_declared: None) -> None:
    """Placement groups are what Tune asks Ray for; as many as Ray makes of them at once, so many
    trials run."""
    from ray.util import placement_group_table
    from ray.util.placement_group import placement_group, remove_placement_group

    node = Node("n", CPUS, GPUS, MEMORY)
    for cpu, gpu, memory in [
        (0.5, 0.4, 0),
        (0.5, 0.3, 0),
        (0.5, 1 / 3, 0),
        (0.5, 0.1667, 0),
        (0.5, 0.16675, 0),
        (0.5, 0.5001, 0),
        (3, 0.25, 0),
        (1, 1, 0),
        (1.3334, 0, 0),
        (1, 0, 3),
        (1, 0.5, 1.5),
        (1, 0.5, 4.5),
    ]:
        request = Request(cpu=float(cpu), gpu=float(gpu), memory=float(memory))
        counted = at_once(request, [node])
        bundle = {"CPU": request.cpu, "GPU": gpus_of(request), "memory": memory_bytes(request)}
        asked = [
            placement_group([{name: amount for name, amount in bundle.items() if amount}])
            for _ in range(counted + 3)
        ]

        def made(groups: list[Any]) -> int:
            return [placement_group_table(group)["state"] for group in groups].count("CREATED")

        until = time.monotonic() + 20
        while made(asked) < counted and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.3)  # for one too many
        assert made(asked) == counted, request
        for group in asked:
            remove_placement_group(group)
        while (
            any(placement_group_table(group)["state"] != "REMOVED" for group in asked)
            and time.monotonic() < until
        ):
            time.sleep(0.02)


@pytest.mark.ray
def test_a_part_of_a_gpu_lies_on_one_and_those_that_share_it_are_as_many_as_counted(
    two_gpus_declared: None,
) -> None:
    import ray

    class Waiting:
        def granted(self) -> list[str]:
            return [str(each) for each in ray.get_runtime_context().get_accelerator_ids()["GPU"]]

    actor = ray.remote(num_cpus=0.1, num_gpus=0.4)(Waiting)
    waiting = [
        actor.remote() for _ in range(at_once(Request(cpu=0.1, gpu=0.4), [Node("n", CPUS, GPUS)]))
    ]
    granted = ray.get([each.granted.remote() for each in waiting], timeout=60)
    for each in waiting:
        ray.kill(each)
    assert Counter(map(tuple, granted)) == {("0",): 2, ("1",): 2}


@pytest.mark.ray
def test_a_gpu_that_ray_grants_and_torch_does_not_find_is_told_in_one_line(
    two_gpus_declared: None,
) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch finds one")
    task = Task(role="student", experiment=experiment())
    refusal = (
        r"^resources\.student\.gpu: auto: .*Ray granted GPU \d but torch finds no CUDA device: "
        r"[^\n]*$"
    )
    with pytest.raises(InputError, match=refusal):
        measured(AUTO, "student", [task], NOWHERE)


@pytest.mark.parametrize("gpu", [1.5, 2, 8])
def test_more_than_one_gpu_is_refused(gpu: float) -> None:
    with pytest.raises(InputError, match=rf"gpu: gpu {gpu} is more than a trial uses"):
        parse(Request, {"gpu": gpu})


@pytest.mark.parametrize("gpu", [0.5, "auto"])
def test_a_gpu_that_lets_in_one_process_is_not_shared(gpu: float | str) -> None:
    node = Node("n", 4, 2, not_shared="GPU 0 lets in one process at a time")
    with pytest.raises(InputError, match=r"^resources\.student\.gpu: GPU 0 lets in one process"):
        check("student", Request(gpu=gpu), [Node("without", 4, 0), node])
    check("student", Request(gpu=1), [node])
    check("student", Request(gpu=0), [node])


def test_a_share_that_cuda_itself_fills_is_refused_where_the_gpu_is_known() -> None:
    small = Node("n", 64, 1, gpu_memory=16 * GIB)
    with pytest.raises(
        InputError,
        match=r"^resources\.teacher\.gpu: 0\.03 of a GPU of 16 GiB is no more than the .* give "
        r"more than 0\.0391$",
    ):
        check("teacher", Request(gpu=0.03), [Node("large", 64, 1, gpu_memory=80 * GIB), small])
    check("teacher", Request(gpu=0.04), [small])
    check("teacher", Request(gpu=0.03), [Node("nobody said", 64, 1)])


def test_this_machine_says_what_its_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        Gpu("0", "GPU-1", "NVIDIA A100-SXM4-40GB", 40 * GIB, "Default", mig=False),
        Gpu("1", "GPU-2", "NVIDIA L4", 24 * GIB, "Exclusive_Process", mig=False),
    ]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("kdray.sweep.execution.resources.visible_gpus", lambda: seen)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/nowhere")
    node = this_machine()
    assert (node.gpu, node.gpu_memory) == (2, 24 * GIB)
    assert node.not_shared is not None
    assert node.not_shared.startswith("GPU 1 lets in one process")
