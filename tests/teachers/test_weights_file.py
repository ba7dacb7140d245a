"""Weights from outside: what is read, what is refused, in one line each."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from kdray.core import InputError
from kdray.teachers.weights_file import digest, fit, fit_all, read_tensors


def network() -> nn.Module:
    return nn.Sequential(OrderedDict(body=nn.Linear(3, 2), norm=nn.BatchNorm1d(2)))


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(network().state_dict())


def wrapped(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": one for name, one in tensors.items()}


@pytest.mark.parametrize("key", ["", "state_dict", "model", "model_state_dict", "net"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_the_usual_wrappings_are_the_same_weights(
    key: str, prefix: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    stored: Any = wrapped(tensors, prefix)
    path = tmp_path / "weights.pt"
    torch.save({key: stored, "epoch": 3, "best": 0.9} if key else stored, path)
    fitted = fit_all(read_tensors(path), network(), path, "it")
    assert not fitted.lacking
    assert digest(fitted.tensors) == digest(tensors)


def test_safetensors_are_the_same_weights(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(wrapped(tensors, "module."), path)
    fitted = fit_all(read_tensors(path), network(), path, "it")
    assert digest(fitted.tensors) == digest(tensors)


def test_the_names_of_a_network_may_all_begin_as_a_wrapper_does(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    inside = nn.Module()
    inside.module = network()
    fitted = fit_all(tensors, inside, tmp_path, "it")
    assert set(fitted.tensors) == set(wrapped(tensors, "module."))


def test_a_counter_that_old_files_lack_starts_at_zero(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    del tensors["norm.num_batches_tracked"]
    assert fit_all(tensors, network(), tmp_path, "it").tensors["norm.num_batches_tracked"] == 0


def test_half_precision_is_widened(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    halves = {name: one.half() for name, one in tensors.items()}
    assert fit_all(halves, network(), tmp_path, "it").tensors["body.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.weight": None, "bodi.weight": (2, 3)}, r"has bodi\.weight .near: body\.weight."),
        ({"body.weight": None}, r"the file lacks body\.weight"),
        ({"extra": (1,)}, "the file has extra"),
        ({"body.weight": (3, 2)}, r"body\.weight is 3 x 2 in the file, 2 x 3 in the network"),
    ],
    ids=["renamed", "missing", "surplus", "shape"],
)
def test_what_does_not_fit_is_named(
    change: dict[str, Any], message: str, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape is not None:
            tensors[name] = torch.zeros(shape)
    with pytest.raises(InputError, match=message) as raised:
        fit_all(tensors, network(), tmp_path, "it")
    assert "\n" not in str(raised.value)


def test_what_fits_is_taken_and_the_rest_is_told(
    tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors["body.weight"] = torch.zeros(5, 3)
    fitted = fit(tensors, network(), tmp_path)
    assert fitted.lacking == ("body.weight",)
    assert len(fitted.tensors) == len(tensors) - 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(
    bad: float, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    tensors["body.bias"][0] = bad
    with pytest.raises(InputError, match=r"body\.bias holds numbers that are not finite"):
        fit_all(tensors, network(), tmp_path, "it")


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_no_code_in_a_file_is_run(protocol: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.pt", tmp_path / "ran"
    if protocol == "torch":
        torch.save({"state_dict": Harmful(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Harmful(mark)))
    with pytest.raises(InputError, match="could run code"):
        read_tensors(path)
    assert not mark.exists()


def write(kind: str, path: Path) -> None:
    match kind:
        case "a web page":
            path.write_text("<!DOCTYPE html><html>Sign in</html>")
        case "nothing":
            path.write_bytes(b"")
        case "text":
            path.write_text("version https://git-lfs.github.com/spec/v1")
        case "no tensors":
            torch.save({"epoch": 3}, path)
        case "half a file":
            torch.save(network().state_dict(), path)
            path.write_bytes(path.read_bytes()[:600])


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", ["a web page", "nothing", "text", "no tensors", "half a file"])
def test_what_is_no_weights_is_refused_in_one_line(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    write(kind, path)
    with pytest.raises(InputError) as raised:
        read_tensors(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pt: cannot be read .No such file"):
        read_tensors(tmp_path / "absent.pt")


def test_a_digest_tells_names_types_shapes_and_bits(tensors: dict[str, Tensor]) -> None:
    one = tensors["body.weight"]
    others = [
        {"body.weights": one},
        {"body.weight": one.double()},
        {"body.weight": one.reshape(3, 2)},
        {"body.weight": one + 1e-7},
    ]
    assert len({digest({"body.weight": one}), *map(digest, others)}) == 5
