"""Every data set keeps to the contracts of one, whether or not its files are there."""

from __future__ import annotations

from pathlib import Path

from kdray.core import Value, tag_of
from kdray.data import AnyData, ImageData, VisionData
from kdray.testing import DATA_CONTRACTS, Contract, hold
from kdray.testing.data import complaint
from tests.contracts.members import each, every


@every(AnyData)
@each(DATA_CONTRACTS)
def test_data(value: ImageData, contract: Contract, tmp_path: Path) -> None:
    hold(contract, value, tmp_path)


@every(AnyData)
def test_says_how_to_get_it_or_has_every_class_in_every_split(
    kind: type[Value], value: ImageData, tmp_path: Path
) -> None:
    said = complaint(value, tmp_path)
    if said is None:
        dataset = value.load(tmp_path)
        for split in (dataset.train, dataset.val, dataset.test):
            assert split.labels.unique().tolist() == list(range(value.classes))
    else:
        assert f"data set {tag_of(kind)!r}" in said
        assert "is missing; " in said
        assert str(tmp_path) in said
        assert "KDRAY_DATA" in said
        # What can be fetched, or what the user's own file must be.
        assert (
            f"kdray data {tag_of(kind)}" if isinstance(value, VisionData) else "it must be a"
        ) in said
    assert not list(tmp_path.iterdir())


@every(AnyData)
def test_kdray_data_finds_in_an_empty_folder_what_needs_no_files(
    kind: type[Value], value: ImageData, tmp_path: Path
) -> None:
    assert type(value).obtain(tmp_path, fetch=False).complete == (type(value).remedy is None)
