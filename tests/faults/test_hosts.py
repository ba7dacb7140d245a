"""A sweep over hosts of a network, of which one becomes unreachable in the middle; the results are
in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.hosts import PORT, SWITCH, Host, Network, why_not
from tests.faults.support import PATIENCE, Fault, Sweep, wait_for
from tests.faults.test_object_store_sweep import tables
from tests.results.s3 import S3

pytestmark = [pytest.mark.ray, pytest.mark.faults]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    if why_not():
        pytest.skip(why_not())
    with Network(tmp_path) as network:
        yield network


@pytest.fixture
def head(network: Network) -> Iterator[Host]:
    """The host of the driver, which trains nothing."""
    host = network.host("head")
    with host.ray("--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false"):
        yield host


def test_of_two_hosts_one_cannot_be_reached_for_a_while_and_nothing_is_lost(
    network: Network, head: Host, tmp_path: Path
) -> None:
    (tmp_path / "alone").mkdir()
    alone = Sweep(tmp_path / "alone")
    assert alone.run().returncode == 0
    students = alone.table().ids("student")
    address = f"{head.address}:{PORT}"
    (tmp_path / "sweep").mkdir()
    sweep = Sweep(
        tmp_path / "sweep", Fault("wait", "epoch 2", students), address=address, within=head.within
    )
    with ExitStack() as nodes, S3(SWITCH) as s3:
        near, far = (network.host(name) for name in ("near", "far"))
        for host in (near, far):
            nodes.enter_context(host.ray(f"--address={address}", "--num-cpus=1"))
        with sweep.driver("--results", s3.uri()) as driver:
            wait_for(lambda: len(sweep.at("epoch 2", students)) == 2)
            (lost,) = (e for e in sweep.at("epoch 2", students) if e.pid in far.processes())
            network.cut(far)
            before = len(sweep.events())
            sweep.go_on()  # both: the host that is cut off does not know it
            wait_for(
                lambda: [
                    event
                    for event in sweep.events()[before:]
                    if event.trial_id == lost.trial_id and event.node != lost.node
                ]
            )
            network.mend(far)
            _, errors = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, errors
        again = [
            e.step for e in sweep.events() if e.trial_id == lost.trial_id and e.node != lost.node
        ]
        assert again == ["epoch 2", "epoch 3", "pgd2", "clean"], "it goes on from its checkpoint"
        done = sweep.run("--results", s3.uri())
        assert "nothing left to do, 6 there already" in done.stdout, done.stderr
        ours = tables(s3.uri())
    for name, theirs in tables(alone.results).items():
        pd.testing.assert_frame_equal(ours[name], theirs, check_exact=True)
