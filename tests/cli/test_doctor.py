"""What ``kdray doctor`` says about Ray and the data folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kdray.cli import doctor
from kdray.cli.doctor import Finding, data_findings, gpu_findings, left_by_ray
from kdray.core import tag_of, value_types
from kdray.data import AnyData, Digits, ImageData, OwnData
from kdray.data.cinic10 import NAMES, PARTS
from kdray.machine.gpus import UNSET_BY_RAY, Gpu
from tests.readme import ROOT


def test_ray_is_told_with_the_versions_that_it_is_tested_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = ["pandas>=2", "ray[tune]<2.61,>=2.58", "timm>=1; extra == 'timm'"]
    monkeypatch.setattr(doctor, "requires", lambda _: wanted)
    monkeypatch.setattr(doctor, "version", lambda _: "2.60.0")
    assert doctor.ray_versions() == "2.60.0 is installed, kdray is tested with >=2.58,<2.61"


@pytest.mark.parametrize(
    ("installed", "ok"), [("2.57.1", False), ("2.58.0", True), ("2.60.2", True), ("2.61.0", False)]
)
def test_a_version_that_kdray_was_not_tested_with_is_wrong(
    monkeypatch: pytest.MonkeyPatch, installed: str, ok: bool
) -> None:
    monkeypatch.setattr(doctor, "version", lambda _: installed)
    finding = doctor.package(Requirement("ray[tune]<2.61,>=2.58"))
    assert finding.ok is ok
    told = f"{installed} is installed, kdray is tested with >=2.58,<2.61: pip install 'ray[tune]"
    assert ok or finding.text.startswith(told)


def test_the_readme_says_the_same_range_of_ray_as_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ray,) = (each for each in project["dependencies"] if each.startswith("ray["))
    assert f"(`{ray}`: what `make ray-versions` tests)" in (ROOT / "sweeps/README.md").read_text()


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


def test_how_trials_may_share_a_gpu_is_told(tmp_path: Path) -> None:
    alone = Gpu("0", "GPU-1", "NVIDIA H200", 2**37, "Exclusive_Process", mig=False)
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    found = {each.subject: each for each in gpu_findings([alone], environment)}
    assert found["compute mode"].text.startswith("GPU 0 lets in one process at a time")
    assert found["MPS"].text.startswith("not running: trials that share a GPU take turns on it")
    (tmp_path / "control").touch()
    (service,) = gpu_findings([alone], environment)
    assert (service.subject, service.ok) == ("MPS", True)
    sliced = alone._replace(compute_mode="Default", mig=True)
    found = {each.subject: each for each in gpu_findings([sliced], {UNSET_BY_RAY: "1"})}
    assert not found["Ray and GPUs"].ok
    assert found["MIG"].ok is not True
    assert list(gpu_findings([], environment)) == []
