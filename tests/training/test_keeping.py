from __future__ import annotations

from typing import Any

import pytest

from kdray.core import InputError, canonical, fingerprint, parse
from kdray.training import Training, train
from kdray.training.keeping import Best
from tests.small_trials import experiment, fresh, setup

PGD2 = {"name": "pgd", "split": "val", "steps": 2, "examples": 30}
SUITE = [
    {"label": "weak", **PGD2},
    {"label": "strong", **PGD2, "steps": 4},
    {"name": "clean", "split": "val"},
    {"name": "gaussian_noise", "split": "val", "sigmas": [0.1, 0.2]},
]


def training(best: str, suite: list[dict[str, Any]] | None = None, **fields: Any) -> Training:
    monitor = {"suite": SUITE if suite is None else suite, **fields}
    return parse(Training, {"epochs": 4, "keep": {"best": best}, "monitor": monitor})


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("weak.accuracy", "pgd[1].accuracy"),
        ("strong.accuracy", "pgd[2].accuracy"),
        ("clean.accuracy", "clean[1].accuracy"),
    ],
)
def test_what_is_meant_stays_the_same_without_labels(written: str, kept: str) -> None:
    found = training(written)
    assert found.keep == Best(best=kept)
    again = parse(Training, canonical(found))
    assert again.keep == found.keep
    assert fingerprint(again) == fingerprint(found)
    assert again.monitor is not None
    assert found.monitor is not None
    assert found.keep.evaluation_id(found.monitor) == found.keep.evaluation_id(again.monitor)


def test_another_label_is_no_other_training() -> None:
    suite = [{**SUITE[0], "label": "other"}, *SUITE[1:]]
    assert fingerprint(training("other.accuracy", suite)) == fingerprint(training("weak.accuracy"))
    assert fingerprint(training("weak.accuracy")) != fingerprint(training("strong.accuracy"))


def test_a_label_that_is_the_kind_of_another_is_not_mistaken_for_it() -> None:
    suite = [{"label": "clean", **PGD2}, {"label": "pgd", "name": "clean", "split": "val"}]
    found = training("pgd.accuracy", suite)
    assert found.keep == Best(best="clean[1].accuracy")
    assert parse(Training, found.model_dump(mode="json")).keep == found.keep


@pytest.mark.parametrize(
    ("best", "suite", "said"),
    [
        (
            "pgd10.accuracy",
            SUITE,
            r"^keep.best: 'pgd10.accuracy' is no number of training.monitor "
            r"\(allowed: weak.accuracy, strong.accuracy, clean.accuracy\)$",
        ),
        ("gaussian_noise.accuracy", SUITE, "^keep.best: 'gaussian_noise.accuracy' is no number"),
        ("weak.loss", SUITE, "^keep.best: 'weak.loss' is no number"),
        ("pgd[3].accuracy", SUITE, "^keep.best: 'pgd\\[3\\].accuracy' is no number"),
        ("weak", SUITE, "^keep.best: 'weak' is no number"),
        ("gaussian_noise.accuracy", SUITE[3:], "allowed: none: no evaluation in it has one"),
        (
            "weak.accuracy",
            [{"label": "weak", "name": "pgd"}],
            "^monitor: suite: weak is on the test split; while training set split: val$",
        ),
    ],
)
def test_what_is_not_monitored_is_refused(
    best: str, suite: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        training(best, suite)


@pytest.mark.parametrize("keep", [{"best": "clean.accuracy"}, {"best": "pgd[1].accuracy"}])
def test_without_a_monitor_there_is_no_best(keep: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"^keep.best: .* is not measured while it trains: "):
        parse(Training, {"epochs": 4, "keep": keep})


@pytest.mark.parametrize("every", [1, 2])
def test_the_first_best_of_the_epochs_that_were_looked_at_is_kept(every: int) -> None:
    described = experiment(
        training={
            "epochs": 6,
            "batch_size": 50,
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
            "keep": {"best": "strong.accuracy"},
            "monitor": {"every": every, "suite": SUITE[:2]},
        }
    )
    state = fresh(described)
    numbers: dict[int, float] = {}
    kept: dict[int, dict[str, Any]] = {}
    wanted = described.training.keep.evaluation_id(described.training.monitor)  # type: ignore[union-attr,arg-type]
    for epoch in train(state, setup(described)):
        weights = state.classifier.state_dict()
        kept[epoch.epoch] = {name: tensor.clone() for name, tensor in weights.items()}
        for row in epoch.measured:
            if (row["evaluation_id"], row["metric"]) == (wanted, "accuracy"):
                numbers[epoch.epoch] = row["value"]
    assert list(numbers) == list(range(every, 7, every))
    best = max(numbers, key=lambda epoch: (numbers[epoch], -epoch))
    assert state.kept_epoch == best
    assert all(tensor.equal(kept[best][name]) for name, tensor in state.kept().items())
