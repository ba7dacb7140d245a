from __future__ import annotations

import os
import re

import pytest
import torch

from kdray import machine
from kdray.results import TABLES

CPU = torch.device("cpu")


def test_its_facts_are_columns_of_the_trials_table() -> None:
    columns = {column.name for column in TABLES["trials"]}
    assert machine.facts().keys() <= columns
    assert machine.facts()["torch_version"] == torch.__version__
    assert machine.facts()["host"]


def test_the_commit_is_a_whole_one_or_none() -> None:
    commit = machine.facts()["git_commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}", commit)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert machine._version("no-such-package-of-ours") is None


def test_there_is_a_cpu() -> None:
    assert machine.cpus() >= 1
    assert machine.device_name(CPU) == "cpu"


def test_a_trial_gets_the_threads_that_it_asks_for() -> None:
    before = torch.get_num_threads()
    try:
        machine.make_repeatable(CPU, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not reset peaks")
def test_the_peak_of_memory_is_in_bytes_and_counts_what_was_freed() -> None:
    machine.reset_peak_memory(CPU)
    before = machine.peak_memory(CPU)
    assert 10**7 < before < 10**12
    block = torch.ones(30_000_000)  # 120 MB
    del block
    assert machine.peak_memory(CPU) - before > 100_000_000
