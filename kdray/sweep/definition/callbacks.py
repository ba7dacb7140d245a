"""Where a running sweep is shown as well: TensorBoard, Weights & Biases or MLflow.

What counts is in the results: where a callback fails, the sweep goes on without it. Validating a
sweep file loads none of them; :mod:`kdray.sweep.execution.dashboards` makes Ray's callbacks of
these descriptions.
"""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from kdray.core import InputError, Several, Value, tag_of

if TYPE_CHECKING:
    from kdray.results import Store

Text = Annotated[str, Field(min_length=1)]


class Callback(Value):
    """Shows every trial of a sweep somewhere, under its id: its configuration, and its numbers by
    epoch."""

    package: ClassVar[str]
    """What is imported."""
    installs: ClassVar[str]
    """What pip installs for it."""
    place: ClassVar[str]
    """The field that says where to write; by default it is below the results."""

    def check(self, store: Store) -> None:
        """Raise :class:`InputError` unless it can be built: its package is installed, and it knows
        where to write."""
        if find_spec(self.package) is None:
            raise self._wrong(f"needs a package that is not installed: pip install {self.installs}")
        if store.folder is None and self._place is None:
            raise self._wrong(
                f"{self.place} is required, since {store.place} is not a local folder"
            )

    @property
    @abstractmethod
    def _place(self) -> str | None:
        """Return the value of the field :attr:`place`."""

    def _folder(self, store: Store, name: str = "") -> Path:
        """Return an absolute path, because workers have another working directory."""
        if self._place is not None:
            return Path(self._place).expanduser().absolute()
        assert store.folder is not None
        return store.folder / name

    def _wrong(self, problem: str) -> InputError:
        return InputError(f"callbacks: {tag_of(type(self))}: {problem}")


class TensorBoard(Callback):
    """Event files: ``tensorboard --logdir RESULTS/tensorboard``. A trial that goes on later adds to
    its own."""

    name: Literal["tensorboard"] = "tensorboard"
    folder: Text | None = None
    """Instead of ``tensorboard`` below the results; ``<sweep>/<trial id>`` comes below it."""

    package = "tensorboardX"
    installs = "tensorboardX"
    place = "folder"

    @property
    def _place(self) -> str | None:
        return self.folder

    def folder_in(self, store: Store) -> Path:
        """Return the folder that it writes below."""
        return self._folder(store, "tensorboard")


class WeightsAndBiases(Callback):
    """Runs of Weights & Biases named by trial id, grouped by sweep. A trial that goes on later is a
    further run of that name.

    Ray's callback starts two more processes for every trial that runs. It needs ``wandb login`` or
    ``WANDB_API_KEY``, or to be ``offline``.
    """

    name: Literal["wandb"] = "wandb"
    project: Text = "kdray"
    entity: Text | None = None
    """User or team; yours by default."""
    offline: bool = False
    """Nothing leaves this machine; ``wandb sync RESULTS/wandb/offline-run-*`` sends it some other
    time."""
    folder: Text | None = None
    """Instead of the results; the files are in ``wandb`` below it."""

    package = "wandb"
    installs = "wandb"
    place = "folder"

    @property
    def _place(self) -> str | None:
        return self.folder

    @property
    def mode(self) -> str:
        """Return wandb's word for whether anything leaves this machine."""
        return "offline" if self.offline else os.environ.get("WANDB_MODE", "online")

    def check(self, store: Store) -> None:
        super().check(store)
        if self.mode in ("offline", "disabled"):
            return
        wandb = import_module("wandb")  # it is optional
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Ray's callback looks in the same place, though it is deprecated
            api_key = os.environ.get("WANDB_API_KEY") or wandb.api.api_key
        if not api_key:
            raise self._wrong(
                "not logged in: run 'wandb login', set WANDB_API_KEY, or write offline: true"
            )

    def folder_in(self, store: Store) -> Path:
        """Return the folder that it writes below."""
        return self._folder(store)


class MLflow(Callback):
    """Runs of MLflow named by trial id. A trial that goes on later is a further run of that name.

    See them with ``mlflow ui --backend-store-uri sqlite:///RESULTS/mlflow.db``, for which the whole
    of mlflow is needed.
    """

    name: Literal["mlflow"] = "mlflow"
    tracking_uri: Text | None = None
    """A server (``http://…``) or a database; by default the SQLite file ``mlflow.db`` in the
    results."""
    experiment: Text | None = None
    """MLflow's word for what runs belong to; by default the sweep's name."""

    package = "mlflow"
    installs = "mlflow-skinny"
    place = "tracking_uri"

    @property
    def _place(self) -> str | None:
        return self.tracking_uri

    def uri_in(self, store: Store) -> str | Path:
        """Return the server or database that it writes to, or the path of an SQLite file."""
        if self.tracking_uri is not None:
            return self.tracking_uri
        assert store.folder is not None
        return store.folder / "mlflow.db"


def _once_each(callbacks: tuple[Callback, ...]) -> tuple[Callback, ...]:
    """Refuse a callback that is named twice: Ray's callback for MLflow has one address for the
    whole process, the one set last."""
    names = [tag_of(type(callback)) for callback in callbacks]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is there twice")
    return callbacks


AnyCallback = Annotated[TensorBoard | WeightsAndBiases | MLflow, Field(discriminator="name")]
Callbacks = Annotated[Several[AnyCallback], AfterValidator(_once_each)]
"""What a sweep file names, each once."""
