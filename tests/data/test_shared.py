"""One copy on a node: the same bits, made once, never stale, never believed when damaged, and done without where it must be."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kdray.core import InputError, parse, value_types
from kdray.data import AnyData, Arrays, Dataset, Digits, ImageData, ImageFolder, VisionData, base, batches, shared
from kdray.data.base import _decoded, _load, _load_test
from kdray.data.origin import origin
from kdray.data.shared import NotShared, one_copy

TENSORS = {
    "images": torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).view(2, 3, 5, 7),
    "labels": torch.tensor([3, -1]),
    "half": torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "scalar": torch.tensor(0.1, dtype=torch.float64),
    "nan": torch.tensor([float("nan"), -0.0]),
    "hollow": torch.zeros(2, 0, 3),
    "turned": torch.arange(6.0).view(2, 3).t(),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are."""
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "cache"))
    _load.cache_clear()
    _load_test.cache_clear()
    yield tmp_path / "cache" / f"kdray-{os.geteuid()}"
    _load.cache_clear()
    _load_test.cache_clear()


def never() -> dict[str, Tensor]:
    raise AssertionError("it is there already")


def bits(tensors: dict[str, Tensor]) -> dict[str, object]:
    return {
        name: (t.dtype, t.shape, t.contiguous().view(-1).view(torch.uint8).tolist()) for name, t in tensors.items()
    }


def test_what_is_made_once_is_read_bit_by_bit() -> None:
    first = one_copy("a", lambda: TENSORS)
    second = one_copy("a", never)
    assert list(first) == list(second) == list(TENSORS)
    assert bits(first) == bits(second) == bits(TENSORS)


def test_tensors_are_aligned_as_torch_aligns_them() -> None:
    assert {tensor.data_ptr() % 64 for tensor in one_copy("a", lambda: TENSORS).values()} == {0}


def test_nothing_is_nothing() -> None:
    assert one_copy("a", dict) == {}
    assert one_copy("a", never) == {}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="told by Linux only")
def test_tensors_are_the_pages_of_the_file_even_of_the_process_that_wrote_it(folder: Path) -> None:
    held = one_copy("a", lambda: TENSORS)
    places = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if str(folder / "a.tensors") in line:
            places.append([int(part, 16) for part in line.split()[0].split("-")])
    assert places
    for name in TENSORS.keys() - {"hollow"}:
        assert any(start <= held[name].data_ptr() < end for start, end in places), name


def test_what_one_writes_into_a_tensor_nobody_else_sees(folder: Path) -> None:
    before = one_copy("a", lambda: TENSORS)
    content = (folder / "a.tensors").read_bytes()
    before["images"].zero_()
    assert int(before["images"].sum()) == 0
    assert bits(one_copy("a", never)) == bits(TENSORS)
    assert (folder / "a.tensors").read_bytes() == content


def test_other_keys_are_other_tensors() -> None:
    one_copy("a", lambda: {"x": torch.zeros(3)})
    assert one_copy("b", lambda: {"x": torch.ones(3)})["x"].tolist() == [1, 1, 1]


def test_one_makes_it_and_the_others_wait() -> None:
    made, held = [], []

    def make() -> dict[str, Tensor]:
        made.append(1)
        time.sleep(0.05)
        return TENSORS

    threads = [threading.Thread(target=lambda: held.append(one_copy("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [bits(tensors) for tensors in held] == [bits(TENSORS)] * 8


def test_the_next_makes_it_where_the_one_that_did_was_killed(folder: Path) -> None:
    one_copy("other", lambda: TENSORS)  # makes the folder
    (folder / "half.tmp").write_bytes(b"half of it")
    script = (
        f"import fcntl, time; file = open({str(folder / 'a.lock')!r}, 'ab'); fcntl.flock(file, fcntl.LOCK_EX); "
        f"print(flush=True); time.sleep(60)"
    )
    held: list[dict[str, Tensor]] = []
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        thread = threading.Thread(target=lambda: held.append(one_copy("a", lambda: TENSORS)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert not (folder / "a.tensors").exists()
        holder.kill()
        thread.join()
    assert bits(held[0]) == bits(TENSORS)


def test_what_making_it_raises_is_raised_and_the_next_can_try() -> None:
    def fails() -> dict[str, Tensor]:
        raise InputError("wrong")

    with pytest.raises(InputError, match="wrong"):
        one_copy("a", fails)
    assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)


def test_an_error_of_the_disk_that_is_read_is_no_reason_to_read_again() -> None:
    tried = []

    def fails() -> dict[str, Tensor]:
        tried.append(1)
        raise OSError("of the source")

    with pytest.raises(OSError, match="of the source"):
        one_copy("a", fails)
    assert len(tried) == 1


def test_only_the_finished_files_stay(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    one_copy("b", lambda: TENSORS, valid=lambda: False)
    assert [path.name for path in folder.iterdir()] == ["a.tensors"]


def test_any_altered_byte_is_noticed_and_the_file_made_anew(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    path = folder / "a.tensors"
    content = path.read_bytes()
    places = random.Random(0).sample(range(len(content)), 30)
    for place in (0, 31, 32, 63, 64, len(content) - 1, *places):
        altered = bytearray(content)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)
        assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 1, 31, 32, 64, 100, -1])
def test_a_file_cut_short_is_noticed_and_made_anew(folder: Path, length: int) -> None:
    one_copy("a", lambda: TENSORS)
    path = folder / "a.tensors"
    content = path.read_bytes()
    path.write_bytes(content[:length])
    assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)
    assert path.read_bytes() == content


class Usage(NamedTuple):
    free: int


def test_on_a_full_disk_a_process_has_its_own_copy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=100))
    with pytest.warns(NotShared, match=r"No space left on device: every process holds its own copy .*KDRAY_CACHE"):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert list(folder.iterdir()) == []


def test_a_file_that_cannot_be_written_to_its_end_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(_: object) -> Iterator[bytes]:
        yield b"the beginning"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared, "_parts", parts)
    with pytest.warns(NotShared, match="No space left"):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert list(folder.iterdir()) == []


def _a_file(folder: Path) -> None:
    folder.write_text("")


def _a_link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("prepare", [_a_file, _a_link, _open_to_all])
def test_a_folder_that_others_could_write_to_is_not_used(folder: Path, prepare: Any) -> None:
    folder.parent.mkdir()
    prepare(folder)
    with pytest.warns(NotShared, match=rf"{folder}: is no folder that you alone can write to: every process"):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    (folder.parent / f"kdray-{me + 1}").mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.warns(NotShared, match="you alone"):
        assert one_copy("a", lambda: TENSORS) is TENSORS


def test_a_cache_that_cannot_be_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(NotShared, match="Not a directory"):
        assert one_copy("a", lambda: TENSORS) is TENSORS


def test_the_folder_is_nobody_elses_business(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    assert folder.stat().st_mode & 0o777 == 0o700


def kept(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.tensors")}


def used(folder: Path, key: str, when: float) -> None:
    os.utime(folder / f"{key}.tensors", (when, when))


def test_the_least_recently_used_goes_when_there_is_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in "abc":
        one_copy(key, lambda: {"x": torch.zeros(1000)})
    for when, key in enumerate("abc"):
        used(folder, key, 1000.0 + when)
    one_copy("a", never)  # now the latest
    monkeypatch.setattr(shared, "MOST", 14_000)
    one_copy("d", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"a", "c", "d"}


def test_what_is_in_use_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = one_copy("a", lambda: {"x": torch.zeros(1000)})["x"][:10]
    one_copy("b", lambda: {"x": torch.zeros(1000)})
    used(folder, "a", 1000.0)
    monkeypatch.setattr(shared, "MOST", 5000)
    one_copy("c", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"a", "c"}
    del held
    one_copy("d", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"d"}


def test_more_than_the_limit_is_shared_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_copy("a", lambda: TENSORS)
    monkeypatch.setattr(shared, "MOST", 100)
    one_copy("b", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"b"}
    one_copy("b", never)


def test_what_a_killed_process_left_is_swept_up(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    for name in ("old.tmp", "old.lock", "new.tmp", "new.lock"):
        (folder / name).write_bytes(b"half")
    for name in ("old.tmp", "old.lock"):
        os.utime(folder / name, (1000.0, 1000.0))
    one_copy("b", lambda: TENSORS)
    assert {path.name for path in folder.iterdir()} == {"a.tensors", "b.tensors", "new.tmp", "new.lock"}


def drawn(root: Path, seed: int) -> None:
    """Write own.npz, always as large."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 80), ("test", 30)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 4
    np.savez(root / "own.npz", **arrays)


def own(**fields: object) -> Arrays:
    return parse(Arrays, {"name": "arrays", "path": "own.npz", "classes": 4, "image_shape": [3, 32, 32], **fields})


def loaded(data: ImageData, root: Path) -> Dataset:
    """As a process that starts now loads it."""
    _load.cache_clear()
    return data.load(root)


def tensors_of(dataset: Dataset) -> dict[str, Tensor]:
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    parts = {f"{name}_{part}": tensor for name, split in splits.items() for part, tensor in split._asdict().items()}
    return {**parts, "mean": dataset.mean, "std": dataset.std}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often arrays were decoded."""
    counted: Counter[str] = Counter()
    read = Arrays.read

    def counting(self: Arrays, root: Path) -> Any:
        counted["read"] += 1
        return read(self, root)

    monkeypatch.setattr(Arrays, "read", counting)
    return counted


@pytest.mark.parametrize(
    "fields", [{}, {"resize": 12, "pad": 2}, {"channels": 1}, {"omit_classes": [1, 3]}, {"validation": 7}]
)
def test_shared_data_are_those_that_were_read(tmp_path: Path, reads: Counter[str], fields: dict[str, object]) -> None:
    drawn(tmp_path, 0)
    data = own(**fields)
    expected = _decoded(data, tmp_path)
    for dataset in (loaded(data, tmp_path), loaded(data, tmp_path)):
        assert bits(tensors_of(dataset)) == bits(expected)
        assert dataset.omitted == data.omit_classes
    assert reads["read"] == 2


def test_the_test_split_alone_is_shared_too(tmp_path: Path, reads: Counter[str]) -> None:
    drawn(tmp_path, 0)
    for _ in range(2):
        _load_test.cache_clear()
        split = own(resize=8).test_split(tmp_path)
    assert reads["read"] == 1
    expected = loaded(own(resize=8), tmp_path).test
    assert torch.equal(split.images, expected.images)
    assert torch.equal(split.labels, expected.labels)


def test_what_is_done_to_loaded_images_is_done_to_one_copy(tmp_path: Path, reads: Counter[str], folder: Path) -> None:
    drawn(tmp_path, 0)
    plain = own().load(tmp_path)
    assert own(augment="crop_flip").load(tmp_path) is plain
    loaded(own(augment="flip", normalization="gcn"), tmp_path)
    assert reads["read"] == 1
    assert len(kept(folder)) == 1


def test_descriptions_of_other_tensors_have_other_copies(tmp_path: Path, reads: Counter[str]) -> None:
    drawn(tmp_path, 0)
    varied: list[dict[str, object]] = [
        {}, {"resize": 16}, {"channels": 1}, {"pad": 1}, {"omit_classes": [0]}, {"omit_classes": [1]}, {"validation": 9}
    ]  # fmt: skip
    for fields in varied:
        loaded(own(**fields), tmp_path)
    assert reads["read"] == len(varied)


def test_images_that_were_overwritten_are_read_again(tmp_path: Path) -> None:
    drawn(tmp_path, 0)
    before = tensors_of(loaded(own(), tmp_path))
    told = (tmp_path / "own.npz").stat()
    drawn(tmp_path, 1)  # the same file, as long and, it is made to seem, as old
    os.utime(tmp_path / "own.npz", ns=(told.st_atime_ns, told.st_mtime_ns))
    again = (tmp_path / "own.npz").stat()
    assert (again.st_ino, again.st_size, again.st_mtime_ns) == (told.st_ino, told.st_size, told.st_mtime_ns)
    after = tensors_of(loaded(own(), tmp_path))
    assert bits(after) == bits(_decoded(own(), tmp_path))
    assert not torch.equal(before["test_images"], after["test_images"])


def test_images_that_changed_while_they_were_read_are_not_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path, 0)
    read = Arrays.read

    def overtaken(self: Arrays, root: Path) -> Any:
        parts = read(self, root)
        drawn(root, 1)
        return parts

    monkeypatch.setattr(Arrays, "read", overtaken)
    loaded(own(), tmp_path)
    assert kept(folder) == set()


def test_other_code_reads_again(tmp_path: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(tmp_path, 0)
    loaded(own(), tmp_path)
    monkeypatch.setattr(base, "code", lambda: "another")
    loaded(own(), tmp_path)
    assert reads["read"] == 2


def test_few_bytes_are_not_worth_a_file(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(tmp_path, 0)
    monkeypatch.setattr(shared, "SMALL", 10**7)
    loaded(own(), tmp_path)
    assert not folder.exists()


def test_missing_images_are_told_as_ever(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"own\.npz is missing"):
        loaded(own(), tmp_path)
    assert not folder.exists()


def test_every_change_to_a_folder_of_images_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SMALL", 0)
    place = tmp_path / "pictures"
    for name, shade in (("train/a/1", 10), ("train/a/2", 20), ("train/b/1", 30), ("train/b/2", 40), ("test/a/1", 50)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(place / f"{name}.png")
    (place / "train" / ".round").symlink_to(place)  # not read, and no way to go round in for ever
    data = ImageFolder(path="pictures", classes=2, size=8, validation=1)

    def shades() -> list[int]:
        dataset = loaded(data, tmp_path)
        assert bits(tensors_of(dataset)) == bits(_decoded(data, tmp_path))
        return sorted(image[0, 0, 0].item() for split in dataset[:3] for image in split.images)

    assert origin(place) is not None
    assert shades() == [10, 20, 30, 40, 50]
    Image.new("RGB", (8, 8), (60, 0, 0)).save(place / "train/b/2.png")
    assert shades() == [10, 20, 30, 50, 60]
    Image.new("RGB", (8, 8), (70, 0, 0)).save(place / "test/a/2.png")
    assert shades() == [10, 20, 30, 50, 60, 70]
    (place / "train/a/1.png").rename(place / "train/b/0.png")  # into another class
    assert shades() == [10, 20, 30, 50, 60, 70]
    (place / "test/a/1.png").unlink()
    assert shades() == [10, 20, 30, 60, 70]


@pytest.mark.parametrize("kind", list(value_types(AnyData)))
def test_every_kind_of_data_that_is_read_from_files_tells_where_they_are(kind: type[ImageData], tmp_path: Path) -> None:
    given = {"path": "own", "classes": 2, "size": 8, "image_shape": (1, 8, 8)}
    data = kind(**{name: value for name, value in given.items() if name in kind.model_fields})  # type: ignore[arg-type]
    place = data.place(tmp_path)
    assert (place is None) == (kind is Digits)
    if isinstance(data, VisionData):
        assert place is not None
        assert all((tmp_path / source.path).is_relative_to(place) for source in data.sources())


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_batches_leave_the_images_as_they_are(tmp_path: Path, augment: str) -> None:
    drawn(tmp_path, 0)
    dataset = loaded(own(), tmp_path)
    for batch in batches(dataset.train, 16, augment, order=torch.Generator(), augmentation=torch.Generator()):
        batch.images.zero_()
    assert bits(tensors_of(dataset)) == bits(_decoded(own(), tmp_path))
