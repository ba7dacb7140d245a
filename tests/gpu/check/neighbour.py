"""One of several trials that share a GPU: a process that trains when it is told to.

It says ``ready`` once its kernels are loaded; for each line that it reads it trains for some
seconds and says how many images a second it has done, until there is none.
"""

from __future__ import annotations

import sys
import time

import torch

from kdray.machine import hardware
from kdray.methods import KD
from tests.gpu.check.part import course, size_on


def main(device: torch.device, share: float, seconds: float) -> None:
    """Train on a ``share`` of a device."""
    hardware.make_repeatable(device, 1)
    hardware.cap_memory(device, share)
    one = course(KD(), device)
    one.train()
    one.train()
    print("ready", flush=True)
    for _ in sys.stdin:
        began, epochs = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            one.train()
            epochs += 1
        rate = epochs * size_on(device).images / (time.perf_counter() - began)
        print(rate, flush=True)


if __name__ == "__main__":
    main(torch.device(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
