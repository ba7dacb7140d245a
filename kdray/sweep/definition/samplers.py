"""How points of the space are chosen: the union behind ``search`` in a sweep file, told apart by
``sampler``.

Each member says itself what the rest of the package asks of it. A new one is a class here, in the
union, and a case in :mod:`kdray.sweep.search.samplers`, which makes Optuna's sampler of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from kdray.core import OpenUnion, Several, Value, tag_of, value_types
from kdray.sweep.definition.stopping import EarlyStopping, Racing

Startup = Annotated[int, Field(ge=1)]
"""Random points before the sampler begins to learn."""


class Sampler(Value):
    """What every search has."""

    tag_field: ClassVar[str] = "sampler"

    enumerates: ClassVar[bool] = False
    """Goes through every point of the space in order, so that it proposes nothing."""
    several_objectives: ClassVar[bool] = True
    """Searches by several objectives at once."""
    constrained: ClassVar[bool] = True
    """Learns from the constraints that a point misses."""
    ranges_needed: ClassVar[int] = 0
    """So many ranges of numbers must there be to search."""
    no_use: ClassVar[Mapping[str, str]] = {}
    """Fields of other samplers, and why this one has none."""

    seed: Annotated[int, Field(ge=0)] = 0
    early_stopping: EarlyStopping | None = None
    racing: Racing | None = None

    @property
    def count(self) -> int | None:
        """Return how many points each search tries; none where every point is gone through."""
        return None

    @property
    def tag(self) -> str:
        """Return the name that a sweep file gives it."""
        return str(tag_of(type(self)))


class Grid(Sampler):
    """Every combination, in order."""

    enumerates: ClassVar[bool] = True
    no_use: ClassVar[Mapping[str, str]] = {
        "points": "a grid has as many as it has; leave points out",
        "first": "a grid has its order; leave first out",
    }

    sampler: Literal["grid"] = "grid"


class Proposer(Sampler):
    """A sampler that proposes points: it searches what is a choice or a range; of leaves that are a
    grid every combination has a search of its own."""

    points: Annotated[int, Field(ge=1)]
    """How many points each search tries (points, not seeds); with fewer than before, those that
    were tried first stay."""
    first: Several[dict[str, JsonValue]] = ()
    """Points to try before any other: values by path, the case as ``case``; what is left out is
    chosen."""

    @property
    def count(self) -> int:
        return self.points

    def optuna_sampler(self, seed: int) -> Any:
        """Return the :class:`optuna.samplers.BaseSampler` that chooses one point, seeded for it
        alone; of a plug-in. It must keep nothing in the study."""
        raise NotImplementedError(f"{type(self).__name__} does not say which sampler it is")

    @model_validator(mode="after")
    def _first_are_tried(self) -> Self:
        if len(self.first) > self.points:
            raise ValueError(
                f"first: {len(self.first)} points are more than the {self.points} that are tried"
            )
        return self


class Random(Proposer):
    """Independent draws."""

    sampler: Literal["random"] = "random"


class QMC(Proposer):
    """Quasi-Monte Carlo: a scrambled Sobol sequence, which covers the space evenly."""

    sampler: Literal["qmc"] = "qmc"


class TPE(Proposer):
    """Optuna's tree-structured Parzen estimator."""

    sampler: Literal["tpe"] = "tpe"
    startup: Startup = 10
    multivariate: bool | None = None
    """Parameters are looked at together, not one by one; none: where there is one objective."""
    group: bool = False
    """Parameters that only some cases have are looked at with those that occur beside them."""
    constant_liar: bool = True
    """Points that are still running count as bad, so that those that run at once differ."""

    @model_validator(mode="after")
    def _groups_together(self) -> Self:
        if self.group and self.multivariate is False:
            raise ValueError("group: needs multivariate: true")
        return self


class GP(Proposer):
    """A Gaussian process."""

    sampler: Literal["gp"] = "gp"
    startup: Startup = 10


class CMAES(Proposer):
    """The evolution strategy CMA-ES."""

    several_objectives: ClassVar[bool] = False
    constrained: ClassVar[bool] = False
    ranges_needed: ClassVar[int] = 2

    sampler: Literal["cmaes"] = "cmaes"
    startup: Startup = 10
    population: Annotated[int, Field(ge=4, le=10_000)] | None = None
    """Points of one generation; none: 4 + 3 ln n of n leaves."""


class NSGAII(Proposer):
    """The genetic algorithm NSGA-II."""

    sampler: Literal["nsgaii"] = "nsgaii"
    population: Annotated[int, Field(ge=2, le=10_000)] = 50
    """Points of one generation."""


AnyProposer = Random | QMC | TPE | GP | CMAES | NSGAII


def _of_one_sampler(given: Any) -> Any:
    """Return ``given`` with the sampler that a search has where it names none.

    A field that only other samplers have is a ValueError that names them.
    """
    if not isinstance(given, dict):
        return given
    given = {"sampler": "grid", **given}
    members = {tag_of(kind): kind for kind in members_of_search()}
    mine = members.get(str(given["sampler"]))
    if mine is None:
        return given
    for field in given:
        users = [str(tag) for tag, kind in members.items() if field in kind.model_fields]
        if users and field not in mine.model_fields:
            general = f"sampler {tag_of(mine)} has no use for it (allowed: with {', '.join(users)})"
            raise ValueError(f"{field}: {mine.no_use.get(field, general)}")
    if "points" in mine.model_fields and given.get("points") is None:
        raise ValueError(f"points: sampler {tag_of(mine)} needs to know how many")
    return given


AnySampler = Annotated[Grid | AnyProposer, OpenUnion(Sampler), BeforeValidator(_of_one_sampler)]


def members_of_search() -> list[type[Sampler]]:
    """Return the samplers that a sweep file can name, in order."""
    return [kind for kind in value_types(AnySampler) if issubclass(kind, Sampler)]


def names_of(kinds: Iterable[type[Sampler]]) -> str:
    """Return the names of some samplers as a message lists them."""
    *names, last = [str(tag_of(kind)) for kind in kinds]
    return f"{', '.join(names)} or {last}"
