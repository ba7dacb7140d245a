"""What ``kdray doctor`` says about Ray and the data folder."""

from __future__ import annotations

from importlib.metadata import requires, version
from pathlib import Path

from kdray.cli.doctor import RAY_TRIED, Finding, _ray_versions, data_findings, left_by_ray
from kdray.core import tag_of, value_types
from kdray.data import AnyData, Digits, ImageData, OwnData
from kdray.data.cinic10 import NAMES, PARTS
from tests.readme import ROOT


def test_ray_is_told_with_the_versions_that_are_allowed_and_tried() -> None:
    assert _ray_versions() == (
        f"{version('ray')} is installed, kdray allows ray[tune]>=2.58, tried with {RAY_TRIED}"
    )


def test_the_readme_says_the_same() -> None:
    (allowed,) = (r for r in requires("kdray") or [] if r.startswith("ray["))
    assert f"(`{allowed}`, tried with {RAY_TRIED})" in (ROOT / "sweeps/README.md").read_text()


def test_the_token_that_ray_leaves_in_the_home_folder_is_told(tmp_path: Path) -> None:
    assert list(left_by_ray(tmp_path)) == []
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    (finding,) = left_by_ray(tmp_path)
    assert finding.ok is None
    assert finding.text.startswith(f"{token} is of Ray")
    assert finding.text.endswith(f"other users can read it: chmod 600 {token}")
    assert "secret" not in finding.text
    token.chmod(0o600)
    (finding,) = left_by_ray(tmp_path)
    assert "chmod" not in finding.text


def test_every_data_set_with_files_of_its_own_is_looked_for(tmp_path: Path) -> None:
    found = {finding.subject: finding for finding in data_findings(tmp_path)}
    expected = {
        tag_of(kind)
        for kind in value_types(AnyData)
        if issubclass(kind, ImageData) and not issubclass(kind, OwnData | Digits)
    }
    assert set(found) == expected
    assert {finding.ok for finding in found.values()} == {None}
    assert found["mnist"].text == f"not in {tmp_path}: kdray data mnist fetches it"
    assert found["cinic10"].text == f"not in {tmp_path}: kdray data cinic10 says where from"


def test_what_is_there_is_fine(tmp_path: Path) -> None:
    for part in PARTS:
        for name in NAMES:
            file = tmp_path / "CINIC-10" / part / name / "cifar10-1.png"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"looked at when it is read")
    assert Finding("cinic10", True, f"in {tmp_path}") in list(data_findings(tmp_path))


def test_no_data_folder_is_no_fault(tmp_path: Path) -> None:
    (finding,) = data_findings(tmp_path / "none")
    assert finding.ok is None
