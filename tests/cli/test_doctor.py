"""What ``kdray doctor`` says about Ray."""

from __future__ import annotations

from importlib.metadata import requires, version

from kdray.cli.doctor import RAY_TRIED, _ray_versions
from tests.readme import ROOT


def test_ray_is_told_with_the_versions_that_are_allowed_and_tried() -> None:
    assert _ray_versions() == (
        f"{version('ray')} is installed, kdray allows ray[tune]>=2.58, tried with {RAY_TRIED}"
    )


def test_the_readme_says_the_same() -> None:
    (allowed,) = (r for r in requires("kdray") or [] if r.startswith("ray["))
    assert f"(`{allowed}`, tried with {RAY_TRIED})" in (ROOT / "sweeps/README.md").read_text()
