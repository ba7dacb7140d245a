from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from kdray.data import Digits
from kdray.machine import checked_file as weights
from kdray.machine.checked_file import Damaged, pack, unpack, unpack_shared
from kdray.models import WideResNet, build, normalizer

TENSORS = {
    "matrix": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.zeros(0),
    "hollow": torch.zeros(2, 0, 3, dtype=torch.float16),
    "count": torch.tensor(3),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "mask": torch.tensor([True, False]),
    "half": torch.tensor([1.5], dtype=torch.bfloat16),
    "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
}
FACTS: dict[str, Any] = {
    "trial_id": "ab",
    "accuracy": 0.1 + 0.2,
    "none": None,
    "list": [1, {"é": "ü"}],
}


def test_what_is_packed_is_unpacked_bit_by_bit() -> None:
    tensors, facts = unpack(pack(TENSORS, FACTS))
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert (
            tensors[name].reshape(-1).view(torch.uint8).tolist()
            == tensor.reshape(-1).view(torch.uint8).tolist()
        )


def test_nothing_packed_is_nothing_unpacked() -> None:
    assert unpack(pack({}, {})) == ({}, {})


def test_views_and_parameters_are_packed_by_their_values() -> None:
    square = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
    tensors, _ = unpack(pack({"turned": square.t(), "column": square[:, 1]}, {}))
    assert torch.equal(tensors["turned"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert torch.equal(tensors["column"], torch.tensor([1.0, 4.0]))


def test_any_altered_byte_is_noticed() -> None:
    packed = pack(TENSORS, FACTS)
    positions = random.Random(0).sample(range(len(packed)), 200)
    for position in [0, 7, 8, len(packed) - 1, *positions]:
        for mask in (0x01, 0x80, 0xFF):
            altered = bytearray(packed)
            altered[position] ^= mask
            with pytest.raises(Damaged):
                unpack(bytes(altered))


def test_a_file_cut_short_or_prolonged_is_noticed() -> None:
    packed = pack(TENSORS, FACTS)
    for length in [
        0,
        1,
        7,
        8,
        9,
        len(packed) - 1,
        *random.Random(1).sample(range(len(packed)), 50),
    ]:
        with pytest.raises(Damaged):
            unpack(packed[:length])
    with pytest.raises(Damaged):
        unpack(packed + b"\0")


def test_a_file_of_zeros_is_noticed() -> None:
    with pytest.raises(Damaged):
        unpack(bytes(len(pack(TENSORS, FACTS))))


@pytest.mark.parametrize(
    "metadata",
    [None, {"digest": "00"}, {"kdray": "{}"}, {"kdray": '{"facts": "{}", "digest": "00"}'}],
)
def test_a_safetensors_file_of_another_program_is_noticed(metadata: dict[str, str] | None) -> None:
    with pytest.raises(Damaged):
        unpack(save({"a": torch.zeros(2)}, metadata))


def test_exchanged_tensors_are_noticed() -> None:
    # The same bytes under other names.
    one, two = torch.zeros(2), torch.ones(2)
    packed = pack({"a": one, "b": two}, {})
    exchanged = packed.replace(b'"a"', b'"?"').replace(b'"b"', b'"a"').replace(b'"?"', b'"b"')
    assert exchanged != packed
    with pytest.raises(Damaged, match="checksum"):
        unpack(exchanged)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the shared copies are, of which none is too small."""
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "SMALL", 0)
    return tmp_path / f"kdray-{os.geteuid()}"


def test_what_is_shared_is_unpacked_bit_by_bit_from_one_file(folder: Path) -> None:
    for _ in range(2):
        tensors, facts = unpack_shared(pack(TENSORS, FACTS))
        assert facts == FACTS
        assert pack(tensors, facts) == pack(TENSORS, FACTS)
        assert len(list(folder.iterdir())) == 1
    assert unpack_shared(pack({"matrix": TENSORS["matrix"] + 1}, FACTS))[0]["matrix"].equal(
        TENSORS["matrix"] + 1
    )
    assert len(list(folder.iterdir())) == 2


def test_few_weights_are_not_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack(TENSORS, FACTS)
    monkeypatch.setattr(weights, "SMALL", len(packed) + 1)
    tensors, facts = unpack_shared(packed)
    assert pack(tensors, facts) == packed
    assert {tensor.data_ptr() % 64 for tensor in tensors.values()} == {
        0
    }  # as those that are shared
    assert not folder.exists()


def test_a_damaged_file_is_noticed_although_a_good_copy_is_shared(folder: Path) -> None:
    packed = pack(TENSORS, FACTS)
    unpack_shared(packed)
    altered = bytearray(packed)
    altered[-1] ^= 1
    with pytest.raises(Damaged):
        unpack_shared(bytes(altered))
    assert len(list(folder.iterdir())) == 1


def test_a_classifier_on_shared_weights_answers_bit_by_bit_the_same(folder: Path) -> None:
    data, model = Digits(resize=16), WideResNet(depth=10, width=1)
    own, sharing = (build(model, data, normalizer(data, {}), seed=seed).eval() for seed in (0, 1))
    packed = pack(own.state_dict(), {})
    sharing.load_state_dict(unpack_shared(packed)[0], assign=True)
    images = torch.rand(8, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(sharing(images).logits, own(images).logits)
    assert pack(sharing.state_dict(), {}) == packed
    assert folder.exists()
