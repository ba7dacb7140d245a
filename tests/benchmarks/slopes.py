"""How cost grows with trials, seeds, epochs, examples, restarts and nodes.

    python -m tests.benchmarks.slopes [--short]

One of them grows and everything else stays. A slope is the exponent b of cost = a · size^b, fitted
to the logarithms, or of cost = c + a · size^b where what does not grow is large beside the rest: 1
means that twice as much costs twice as much, 0 that it costs nothing more. Its note says which
slope is expected, and why. Seconds are those of the CPU with one thread, but where trials only
wait.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from kdray.results import Store
from kdray.trials.experiment import Experiment
from kdray.trials.run import run_task
from kdray.trials.task import Task
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say, timed
from tests.benchmarks.networks import Name, attacked, trained
from tests.benchmarks.passes import attack, kdray, passes_of
from tests.benchmarks.peers import STEPS
from tests.benchmarks.scale import WAIT, alone

SLACK = 0.1
"""By which a slope may be steeper than expected."""


def figures(short: bool) -> Iterator[Figure]:
    torch.set_num_threads(1)
    repeats = 1 if short else 3
    with (
        tempfile.TemporaryDirectory() as name,
        patch.dict(os.environ, {"KDRAY_CACHE": f"{name}/cache"}),
    ):
        yield from epochs((10, 40, 160), repeats, Path(name))
        yield from examples((2_000, 8_000, 32_000), repeats, Path(name))
    yield from trials_planned((1_000, 4_000) if short else (2_000, 20_000), min(2, repeats))
    if not short:
        yield from trials_and_seeds_given_out()
    if not short:
        yield from restarts((1, 2, 4, 8), repeats, "small CNN")
        yield from nodes((1, 4))


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of the line through the logarithms (least squares)."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def exponent_beside(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent of what grows beside a fixed cost: of three sizes, each as many times the one
    before."""
    (small, middle, large), (low, between, high) = sizes, costs
    assert middle / small == large / middle
    return float(np.log((high - between) / (between - low)) / np.log(middle / small))


def slope(
    what: str,
    sizes: Sequence[float],
    costs: Sequence[Sequence[float]],
    expected: float,
    reason: str,
    fitted: Callable[[Sequence[float], Sequence[float]], float] = exponent,
) -> Figure:
    """``costs``: of every repeat, one for each of ``sizes``; steeper than ``expected`` is a defect,
    less steep is not."""
    steps = " → ".join(f"{size:,}" for size in sizes)
    return Figure(
        f"{what} {steps}",
        tuple(fitted(sizes, each) for each in costs),
        "slope",
        f"<= {expected + SLACK:.2g}",
        f"expected {expected:.2g}: {reason}",
    )


def each_more(what: str, sizes: Sequence[float], costs: Sequence[Sequence[float]]) -> Figure:
    """Milliseconds for one more, between the smallest and the largest size."""
    spent = tuple(1e3 * (each[-1] - each[0]) / (sizes[-1] - sizes[0]) for each in costs)
    return Figure(f"for one more: {what}", spent, "ms")


def trials_planned(sizes: Sequence[int], repeats: int) -> Iterator[Figure]:
    costs = [[alone("planning", size)[3] for size in sizes] for _ in range(repeats)]
    yield slope(
        "the driver's look at trials:",
        sizes,
        costs,
        1,
        "each is made, hashed and looked up once; the rest of the plan is as large as the "
        "sweep file",
    )
    yield each_more("trial, the driver's look", sizes, costs)


def trials_and_seeds_given_out(
    points: int = 75, seeds: int = 2, times: int = 4
) -> Iterator[Figure]:
    """A small sweep, one with so many times its points, and one with so many times its seeds."""
    small, more_points, more_seeds = (
        _driver_seconds(points * seeds, seeds),
        _driver_seconds(times * points * seeds, seeds),
        _driver_seconds(points * times * seeds, times * seeds),
    )
    sizes = (points * seeds, times * points * seeds)
    what = "driver's CPU, trials that do nothing"
    yield slope(
        f"{what}, {seeds} seeds a point: trials",
        sizes,
        [(small, more_points)],
        1,
        "what kdray does when one ends does not depend on how many have; what grows, by "
        "profile: Tune goes through all "
        "trials to choose the next, Optuna through all values of a leaf",
    )
    yield each_more("trial that does nothing, driver's CPU", sizes, [(small, more_points)])
    yield slope(
        f"{what}, {points} points: seeds",
        (seeds, times * seeds),
        [(small, more_seeds)],
        1,
        "a seed is a trial like another; only the point is drawn and told once",
    )


def _driver_seconds(trials: int, seeds: int) -> float:
    _, _, cpu, *_ = alone("idle", trials, seeds)
    return cpu * trials / 1e3


def epochs(sizes: Sequence[int], repeats: int, folder: Path) -> Iterator[Figure]:
    data = drawn(folder, 2_000)
    costs = _in_turns(repeats, sizes, lambda size: trial(data, size))
    yield slope(
        "a trial (MLP, 2,000 images of 8 x 8): epochs",
        sizes,
        costs,
        1,
        "each does the same (start, end and two measurements of the weights apart)",
        exponent_beside,
    )
    yield each_more("epoch, with its checkpoint", sizes, costs)


def examples(sizes: Sequence[int], repeats: int, folder: Path) -> Iterator[Figure]:
    data = {size: drawn(folder, size) for size in sizes}
    costs = _in_turns(repeats, sizes, lambda size: trial(data[size], 10))
    yield slope(
        "a trial (MLP, 10 epochs, batches of 128): training images",
        sizes,
        costs,
        1,
        "as many steps more (validation, checkpoints and the start apart)",
        exponent_beside,
    )
    yield each_more("training image in 10 epochs", sizes, costs)


def drawn(folder: Path, count: int) -> dict[str, Any]:
    """So many random images to train on, 100 each to validate and to test on: the data of an
    experiment."""
    draws, arrays, file = np.random.default_rng(0), {}, folder / f"{count}.npz"
    for part, images in (("train", count), ("val", 100), ("test", 100)):
        arrays[f"{part}_images"] = draws.integers(0, 256, (images, 8, 8), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(images) % 10
    np.savez(file, **arrays)
    return {"name": "arrays", "path": str(file), "classes": 10, "image_shape": [1, 8, 8]}


def trial(data: dict[str, Any], epochs: int) -> float:
    """Seconds of one trial from start to end."""
    described = Experiment.parse(
        {
            "data": data,
            "model": {"name": "mlp", "hidden": [64]},
            "training": {"epochs": epochs, "batch_size": 128},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.create()
        steps = run_task(
            Task(role="student", experiment=described),
            store=store,
            data_root=Path("/"),
            device=torch.device("cpu"),
        )
        seconds, done = timed(lambda: list(steps))
    assert done[-1].outcome == "completed", done[-1].reasons
    return seconds


def restarts(sizes: Sequence[int], repeats: int, name: Name) -> Iterator[Figure]:
    images, labels = attacked(250)
    for robust, expected, reason in (
        (False, 0.0, "the first breaks every image, and none is attacked again"),
        (True, 1.0, "less by what each restart breaks, which is attacked no more"),
    ):
        target = trained(name, robust)
        needed = [
            passes_of(attack(restarts=size), target.classifier, images, labels) for size in sizes
        ]
        shown = [sum(count for count, _ in each) for each in needed]
        yield slope(
            f"images passed through the {target}, PGD-{STEPS}: restarts",
            sizes,
            [shown],
            expected,
            reason,
        )

        def spent(size: int, target: Any = target) -> float:
            return timed(lambda: kdray(attack(restarts=size), target.classifier, images, labels))[0]

        costs = _in_turns(repeats, sizes, spent)
        yield slope(
            f"seconds on the {target}, PGD-{STEPS}: restarts",
            sizes,
            costs,
            max(0, exponent(sizes, shown)),
            "the slope of the images passed through, by count",
        )


def nodes(sizes: Sequence[int], trials: int = 20) -> Iterator[Figure]:
    """Nodes of one CPU each: processes of this machine, so that trials, ``trials`` for each node,
    wait rather than compute.

    Only the last fifth is timed: by then every node's worker has imported what it needs.
    """
    measured = [alone("waiting", trials * size, 1, size) for size in sizes]
    cpu, clock = ([each[column] for each in measured] for column in (2, 5))
    yield slope(
        f"time for each trial that waits for {WAIT} s: nodes",
        sizes,
        [clock],
        -1,
        "a trial more at once for each node; less steep by what the one driver does for each trial",
    )
    yield slope(
        "driver's CPU for each of these trials: nodes",
        sizes,
        [cpu],
        0,
        "one driver gives out the trials, by trial and not by node",
    )
    yield Figure(f"driver's CPU for each of these trials on {sizes[-1]} nodes", (cpu[-1],), "ms")


def _in_turns(
    repeats: int, sizes: Sequence[int], cost: Callable[[int], float]
) -> list[list[float]]:
    """Of every repeat, the cost of each size, after one of the smallest that does not count."""
    cost(sizes[0])
    found: list[list[float]] = []
    for turn in range(repeats):
        found.append([cost(size) for size in sizes])
        spent = ", ".join(
            f"{size}: {seconds:.2f} s" for size, seconds in zip(sizes, found[-1], strict=True)
        )
        say(f"{turn + 1}/{repeats}: {spent}")
    return found


if __name__ == "__main__":
    run(figures)
