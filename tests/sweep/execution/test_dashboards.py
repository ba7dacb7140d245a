"""Sweeps shown by Ray's callbacks: what these are told, what they store, and that they can do no
harm."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdray.core import parse
from kdray.results import Store
from kdray.sweep.definition.callbacks import Callbacks
from kdray.trials.experiment import Experiment, configuration
from kdray.trials.task import Ended, EpochDone, Measured, Outcome, Task, Trained, TrialEvent
from tests.sweep.fakes import TINY

HOOKS = (
    "setup",
    "on_trial_start",
    "on_trial_result",
    "on_trial_complete",
    "on_trial_error",
    "on_experiment_end",
)
ALL = [
    {"name": "tensorboard"},
    {"name": "wandb", "project": "kd", "offline": True},
    {"name": "mlflow", "experiment": "noise"},
]
STUDENT = {**TINY["experiment"], "teacher": None, "method": {"name": "cross_entropy"}, "noise": {}}


def experiment(seed: int) -> Experiment:
    return Experiment.parse({**STUDENT, "seed": seed})


def epoch(done: int, val_accuracy: float) -> EpochDone:
    metrics = {"val_accuracy": val_accuracy}
    return EpochDone(stage="main", epoch=done, epochs=2, done=done, metrics=metrics)


def measured(**metrics: float) -> Measured:
    return Measured(evaluation_id="0", label="pgd1", done=4, metrics=metrics)


EPOCHS = [epoch(1, 0.25), epoch(2, 0.5)]
TRAINED = Trained(done=3, metrics={"val_accuracy": 0.5, "test_accuracy": 0.375})
COMPLETED = Ended(outcome=Outcome.COMPLETED, trained=TRAINED, measured=(measured(accuracy=0.125),))
MEASURED: list[TrialEvent] = [measured(), COMPLETED]
FAILED = Ended(outcome=Outcome.FAILED, trained=Trained(done=3, metrics={"val_accuracy": 0.25}))
SCRIPTS: dict[str, list[TrialEvent]] = {
    "whole": [*EPOCHS, TRAINED, *MEASURED],
    "resumed": [EPOCHS[1], TRAINED, *MEASURED],
    "measured only": [measured(), COMPLETED.model_copy(update={"trained": None})],
    "failed": [EPOCHS[0], FAILED],
}
SEEDS = {name: seed for seed, name in enumerate(SCRIPTS)}


def config_of(name: str, **changes: Any) -> dict[str, str]:
    """What Tune configures the trial ``name`` with."""
    task = Task(role="student", experiment=experiment(SEEDS[name]), **changes)
    member = {
        "sweep": "tiny",
        "trial_id": task.experiment.trial_id,
        "role": "student",
        "point": 3,
        "case": None,
    }
    return {
        "task": task.model_dump_json(),
        "member": json.dumps(member),
        "steps": json.dumps([event.model_dump_json() for event in SCRIPTS[name]]),
    }


# What they are told


class Told:
    """Stands for a callback of Ray's and notes what it hears; raises in some hooks."""

    def __init__(self, *raises: str) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self._raises = raises

    def _note(self, hook: str, *heard: Any) -> None:
        self.heard.append((hook, *heard))
        if hook in self._raises:
            raise ValueError(f"in {hook}")

    def setup(self, *_: Any, **__: Any) -> None:
        self._note("setup", os.environ.get("WANDB_MODE"))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any) -> None:
        self._note("on_trial_start", trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        result: dict[str, Any],  # noqa: ARG002, RUF100
    ) -> None:
        self._note("on_trial_result", trial, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any) -> None:
        self._note("on_trial_complete", trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any) -> None:
        self._note("on_trial_error", trial)

    def on_experiment_end(self, trials: list[Any]) -> None:
        self._note("on_experiment_end")

    @property
    def hooks(self) -> list[str]:
        return [heard[0] for heard in self.heard]


@pytest.fixture
def warned() -> list[str]:
    return []


def adapter(told: Told, warned: list[str], folder: Path | None = None) -> Any:
    import kdray.sweep.execution.cluster  # before ray  # noqa: F401
    from kdray.sweep.execution.callback_adapter import Adapter

    place = None if folder is None else (lambda trial_id: folder / trial_id)
    return Adapter(told, "told", "tiny", place, warned.append)


def tune_trial(name: str, **changes: Any) -> SimpleNamespace:
    return SimpleNamespace(trial_id=f"abc_{SEEDS[name]}", config=config_of(name, **changes))


def play(under_test: Any, name: str) -> None:
    """A trial from its start to its end, as Tune tells of it."""
    trial = tune_trial(name)
    under_test.on_trial_start(0, [], trial)
    for each in SCRIPTS[name]:
        under_test.on_trial_result(
            0, [], trial, {"event": each.model_dump_json(), "pid": 1, "training_iteration": 7}
        )
    under_test.on_trial_complete(0, [], trial)


def told_of(name: str, warned: list[str], *raises: str) -> Told:
    told = Told(*raises)
    play(adapter(told, warned), name)
    return told


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("whole", [1, 2, 2, 2]), ("resumed", [2, 2, 2]), ("measured only", [2]), ("failed", [1, 1])],
)
def test_a_callback_hears_numbers_by_epoch_and_no_texts(
    name: str, epochs: list[int], warned: list[str]
) -> None:
    results = [heard[2] for heard in told_of(name, warned).heard if heard[0] == "on_trial_result"]
    assert [result["training_iteration"] for result in results] == epochs
    numbers = [each.named_metrics for each in SCRIPTS[name] if each.named_metrics]
    assert [
        {k: v for k, v in result.items() if k != "training_iteration"} for result in results
    ] == numbers
    assert not warned


def test_a_callback_sees_the_configuration_under_the_trial_id(warned: list[str]) -> None:
    shown = told_of("resumed", warned).heard[0][1]
    described = experiment(SEEDS["resumed"])
    assert str(shown) == described.trial_id
    assert shown.config == shown.evaluated_params
    assert shown.config == {
        **configuration(described),
        "trial_id": described.trial_id,
        "seed": described.seed,
        "role": "student",
        "sweep": "tiny",
        "point": 3,
    }


def test_a_trial_that_failed_has_failed_though_tune_saw_it_complete(warned: list[str]) -> None:
    assert told_of("failed", warned).hooks[-1] == "on_trial_error"
    assert told_of("whole", warned).hooks[-1] == "on_trial_complete"


def test_what_is_measured_across_trials_is_not_shown(warned: list[str]) -> None:
    told, trial = Told(), tune_trial("whole", train=False, others=(experiment(1),))
    under_test = adapter(told, warned)
    under_test.on_trial_start(0, [], trial)
    under_test.on_trial_result(0, [], trial, {"event": MEASURED[-1].model_dump_json()})
    under_test.on_trial_complete(0, [], trial)
    assert not told.heard
    assert not warned


def test_a_trial_whose_worker_died_goes_on_as_the_same(warned: list[str]) -> None:
    told, trial = Told(), tune_trial("whole")
    under_test = adapter(told, warned)
    under_test.on_trial_start(0, [], trial)
    under_test.on_trial_recover(0, [], trial)
    under_test.on_trial_start(0, [], trial)
    under_test.on_trial_error(0, [], trial)
    assert told.hooks == ["on_trial_start", "on_trial_start", "on_trial_error"]
    assert len({id(heard[1]) for heard in told.heard}) == 1


def test_what_is_open_ends_once_when_a_run_is_interrupted(warned: list[str]) -> None:
    told = Told()
    under_test = adapter(told, warned)
    for name in ("whole", "resumed"):
        under_test.on_trial_start(0, [], tune_trial(name))
    under_test.close()
    under_test.close()
    assert told.hooks == ["on_trial_start"] * 2 + ["on_trial_error"] * 2 + ["on_experiment_end"]
    assert told.heard[2][1] is told.heard[0][1]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_callback_that_raises_is_left_out_from_then_on_with_one_warning(
    hook: str, warned: list[str]
) -> None:
    told = Told(hook)
    under_test = adapter(told, warned)
    under_test.setup()
    for name in SCRIPTS:
        play(under_test, name)
    under_test.on_experiment_end([])
    assert told.hooks[-1] == hook
    assert told.hooks.count(hook) == 1
    assert warned == [
        f"callbacks: told: ValueError: in {hook}; the sweep goes on, and is shown there no more"
    ]


def test_an_interruption_is_no_fault_of_the_callback(warned: list[str]) -> None:
    told = Told()
    told.setup = lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        adapter(told, warned).setup()


# What they store, on a real Ray


def trainable() -> type:
    """Reports the steps that its configuration lists, as kdray's trials report theirs. Inside, so
    that it is sent by value."""
    from ray import tune

    class Scripted(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self._steps = iter(json.loads(config["steps"]))

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            event = next(self._steps)
            return {
                "event": event,
                "pid": 1,
                "done": json.loads(event)["event"] == "ended",
                "warnings": "[]",
            }

    return Scripted


def tuned(names: list[str], callbacks: list[Any], folder: Path) -> list[str]:
    """Run the scripts ``names`` on Tune; the errors of trials."""
    from ray import tune

    configs = {name: config_of(name) for name in names}
    grid = {
        key: tune.sample_from(lambda spec, key=key: configs[spec["config"]["script"]][key])
        for key in ("task", "member", "steps")
    }
    found = tune.Tuner(
        trainable(),
        param_space={"script": tune.grid_search(names), **grid},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="run",
            verbose=0,
            callbacks=list(callbacks),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    return [str(error) for error in found.errors]


class Run:
    """Results that every callback that is installed has shown, and beside them what raised in every
    hook."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder)
        self.warned: list[str] = []
        self.errors: list[str] = []
        self.connections = 0

    def build(self) -> list[Any]:
        from kdray.sweep.execution.dashboards import adapter_of

        found = [
            c for c in parse(Callbacks, ALL) if importlib.util.find_spec(c.package) is not None
        ]
        for callback in found:
            callback.check(self.store)
        return [adapter_of(each, self.store, "tiny", self.warned.append) for each in found]


HEARD_AT = b"/weights-and-biases"
"""A path, because the port may be one that somebody else still looks for somebody at."""


def requests(server: socket.socket) -> Iterator[bytes]:
    """What was sent to ``server``, without waiting for more."""
    server.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                yield connection.recv(10_000)


@pytest.fixture(scope="module")
def a_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """A Ray whose workers know one address of Weights & Biases only: the socket, at which somebody
    listens."""
    from kdray.sweep.execution.cluster import quiet  # isort: skip  # before ray

    import ray  # isort: skip

    with (
        pytest.MonkeyPatch.context() as patch,
        socket.create_server(("127.0.0.1", 0)) as server,
        quiet(),
    ):
        patch.setenv(
            "WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}{HEARD_AT.decode()}"
        )
        patch.delenv("WANDB_MODE", raising=False)
        patch.delenv("WANDB_API_KEY", raising=False)
        patch.chdir(tmp_path_factory.mktemp("empty"))
        ray.init(
            address="local",
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
        try:
            yield server
        finally:
            ray.shutdown()


@pytest.fixture(scope="module")
def shown(a_ray: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Run:
    from kdray.sweep.execution.callback_adapter import Adapter
    from kdray.sweep.execution.cluster import quiet

    run = Run(tmp_path_factory.mktemp("shown"))
    with quiet():
        raising = [Adapter(Told(hook), hook, "tiny", None, run.warned.append) for hook in HOOKS]  # type: ignore[arg-type]
        run.errors = tuned(list(SCRIPTS), [*raising, *run.build()], tmp_path_factory.mktemp("tune"))
    assert not any(HEARD_AT in request for request in requests(a_ray)), (
        "offline, and yet somebody was told"
    )
    return run


@pytest.fixture(scope="module")
def interrupted(a_ray: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One trial, stopped by Ctrl-C after its first number."""
    from ray import tune

    from kdray.sweep.execution.cluster import quiet

    class Stop(tune.Callback):  # type: ignore[misc]
        def on_trial_result(
            self,
            iteration: int,
            trials: list[Any],
            trial: Any,
            result: Any,
            **_: Any,  # noqa: ARG002, RUF100
        ) -> None:
            raise KeyboardInterrupt

    run = Run(tmp_path_factory.mktemp("interrupted"))
    with quiet():
        adapters = run.build()
        with pytest.raises(KeyboardInterrupt):
            tuned(["whole"], [*adapters, Stop()], tmp_path_factory.mktemp("tune"))
        for each in adapters:
            each.close()
    return run


def trial_id(name: str) -> str:
    return experiment(SEEDS[name]).trial_id


@pytest.mark.ray
def test_whatever_raises_every_trial_ends_well(shown: Run) -> None:
    assert not shown.errors
    assert sorted(shown.warned) == sorted(
        f"callbacks: {hook}: ValueError: in {hook}; the sweep goes on, and is shown there no more"
        for hook in HOOKS
    )
    assert not list(Path.cwd().iterdir()), "something was written beside the results"


Curves = dict[str, list[tuple[int, float]]]
"""Metric to (epoch, value)."""
CURVES: dict[str, Curves] = {
    "whole": {
        "val_accuracy": [(1, 0.25), (2, 0.5), (2, 0.5), (2, 0.5)],
        "test_accuracy": [(2, 0.375), (2, 0.375)],
        "pgd1.accuracy": [(2, 0.125)],
    },
    "resumed": {
        "val_accuracy": [(2, 0.5), (2, 0.5), (2, 0.5)],
        "test_accuracy": [(2, 0.375), (2, 0.375)],
        "pgd1.accuracy": [(2, 0.125)],
    },
    "measured only": {"pgd1.accuracy": [(2, 0.125)]},
    "failed": {"val_accuracy": [(1, 0.25), (1, 0.25)]},
}


def tensorboard_curves(folder: Path) -> Curves:
    """What TensorBoard reads from event files: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    out: Curves = defaultdict(list)
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    out[value.tag.removeprefix("ray/tune/")].append(
                        (event.step, value.simple_value)
                    )
    return dict(out)


@pytest.mark.ray
@pytest.mark.parametrize("name", SCRIPTS)
def test_tensorboard_has_the_numbers_of_every_trial(shown: Run, name: str) -> None:
    assert (
        tensorboard_curves(shown.folder / "tensorboard" / "tiny" / trial_id(name)) == CURVES[name]
    )


@pytest.mark.ray
def test_tensorboard_adds_to_what_a_trial_had_when_it_goes_on_later(
    shown: Run, tmp_path: Path
) -> None:
    from kdray.sweep.execution.cluster import quiet
    from kdray.sweep.execution.dashboards import adapter_of

    folder = tmp_path / "later"
    (callback,) = parse(Callbacks, [{"name": "tensorboard", "folder": str(folder)}])
    with quiet():
        for name in ("whole", "resumed"):  # one trial, and the way on
            under_test = adapter_of(callback, shown.store, "tiny", shown.warned.append)
            trial = SimpleNamespace(trial_id="abc", config=config_of("whole"))
            under_test.on_trial_start(0, [], trial)
            for each in SCRIPTS[name]:
                under_test.on_trial_result(0, [], trial, {"event": each.model_dump_json()})
            under_test.close()
    curves = tensorboard_curves(folder / "tiny" / trial_id("whole"))
    assert curves["val_accuracy"][:2] == [(1, 0.25), (2, 0.5)]
    assert len(curves["val_accuracy"]) == 7


def mlflow_runs(run: Run) -> dict[str, tuple[Any, dict[str, list[tuple[int, float]]]]]:
    """By name: the run, and its curves."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run.folder}/mlflow.db")
    found = client.get_experiment_by_name("noise")
    assert found is not None
    out = {}
    for each in client.search_runs([found.experiment_id]):
        curves = {
            name: [
                (point.step, point.value)
                for point in client.get_metric_history(each.info.run_id, name)
            ]
            for name in each.data.metrics
        }
        curves.pop("training_iteration", None)
        out[each.info.run_name] = (each, curves)
    return out


@pytest.mark.ray
def test_mlflow_has_a_run_for_every_trial_with_its_configuration(shown: Run) -> None:
    runs = mlflow_runs(shown)
    assert runs.keys() == {trial_id(name) for name in SCRIPTS}
    for name in SCRIPTS:
        run, curves = runs[trial_id(name)]
        assert curves == CURVES[name]
        assert run.info.status == ("FAILED" if name == "failed" else "FINISHED")
        assert (
            run.data.params.items()
            >= {
                "sweep": "tiny",
                "point": "3",
                "role": "student",
                "seed": str(SEEDS[name]),
                "trial_id": trial_id(name),
                "model.hidden": "[8]",
                "training.optimizer.learning_rate": "0.1",
            }.items()
        )


@pytest.mark.ray
def test_mlflow_has_no_run_left_open_by_an_interruption(interrupted: Run) -> None:
    ((run, curves),) = mlflow_runs(interrupted).values()
    assert run.info.status == "FAILED"
    assert curves == {"val_accuracy": [(1, 0.25)]}
    assert not interrupted.warned


def wandb_records(path: Path) -> Iterator[Any]:
    """What ``wandb sync`` reads: a log as of LevelDB, in blocks of 32 KiB, each part with checksum,
    length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield Record.FromString(message)
            message = b""


def wandb_runs(run: Run) -> dict[str, SimpleNamespace]:
    """By name: the run's own record, its configuration, the last value of each metric, and whether
    it has ended."""
    pytest.importorskip("wandb")
    out = {}
    for path in (run.folder / "wandb").glob("offline-run-*/run-*.wandb"):
        found = SimpleNamespace(run=None, config={}, curves=defaultdict(list), ended=False)
        for record in wandb_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.run = found.run or record.run
                found.config |= {
                    item.key: json.loads(item.value_json) for item in record.run.config.update
                }
            if kind == "history":
                row = {
                    "/".join(i.nested_key) or i.key: json.loads(i.value_json)
                    for i in record.history.item
                }
                for name in row.keys() - {"training_iteration"}:
                    if not name.startswith("_"):
                        found.curves[name].append((record.history.step.num, row[name]))
            found.ended |= kind == "exit"
        assert found.run is not None, (
            f"{path.name}: {[r.WhichOneof('record_type') for r in wandb_records(path)]}"
        )
        out[found.run.display_name] = found
    return out


@pytest.mark.ray
def test_weights_and_biases_has_a_run_for_every_trial_with_its_configuration(shown: Run) -> None:
    runs = wandb_runs(shown)
    assert runs.keys() == {trial_id(name) for name in SCRIPTS}
    for name in SCRIPTS:
        found = runs[trial_id(name)]
        once = {
            metric: sorted(dict(curve).items()) for metric, curve in CURVES[name].items()
        }  # a row for every step
        assert found.curves == once
        assert (found.run.project, found.run.run_group) == ("kd", "tiny")
        assert found.config.items() >= configuration(experiment(SEEDS[name])).items()
        assert (
            found.config.items()
            >= {
                "sweep": "tiny",
                "point": 3,
                "seed": SEEDS[name],
                "trial_id": trial_id(name),
            }.items()
        )
        assert found.ended


@pytest.mark.ray
def test_weights_and_biases_has_no_run_left_open_by_an_interruption(interrupted: Run) -> None:
    (found,) = wandb_runs(interrupted).values()
    assert found.ended
    assert found.curves == {"val_accuracy": [(1, 0.25)]}
