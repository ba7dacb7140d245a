"""Tensors that say that they are on a GPU, and compute on the CPU.

They refuse what CUDA refuses, and every operator on them is noted. torch's own fake tensors cannot
stand for them: they have no numbers, on which control flow depends, and need a build for CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from tests.gpu import operators
from tests.gpu.record import Record

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
UNDERNEATH = torch.device("meta")
"""What C++ takes such tensors to be on: unlike cuda it has a device guard in a build for CPUs, and
unlike cpu it tells what a formula in C++ makes beside them (the zeros of a second backward pass)
from what is on the CPU."""
PlainGenerator = torch.Generator


class GpuTensor(Tensor):
    """A tensor ``held`` by the CPU that says it is on the GPU."""

    held: Tensor
    machine: Machine

    @staticmethod
    def __new__(cls, held: Tensor, machine: Machine) -> GpuTensor:
        made: GpuTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=UNDERNEATH,
        )
        made.held, made.machine = held, machine
        return made

    def __init__(self, held: Tensor, machine: Machine) -> None:
        pass

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        machine = next(leaf.machine for leaf in leaves_of(args, kwargs) if is_gpu(leaf))
        return machine.run(func, args, kwargs or {})

    def __repr__(self, **options: Any) -> str:
        return f"GpuTensor({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    def get_device(self) -> int:
        return 0

    def numpy(self, **options: Any) -> Any:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
            "to host memory first."
        )

    def __array__(self, *args: Any) -> Any:
        return self.numpy()

    def cpu(self, *args: Any) -> Tensor:
        return self.machine.fetched(self)

    def cuda(self, *args: Any) -> Tensor:
        return self

    def tolist(self) -> Any:
        return self.machine.fetched(self).tolist()

    def to(self, *args: Any, copy: bool = False, **kwargs: Any) -> Tensor:
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        moved: Tensor = self.clone() if copy else self
        if dtype is not None and dtype != self.dtype:
            moved = Tensor.to(moved, dtype)
        if memory_format is not None:
            moved = Tensor.to(moved, memory_format=memory_format)
        if device is not None and device.type == "cpu":
            return self.machine.fetched(moved)
        return moved

    def pin_memory(self, *args: Any) -> Tensor:
        raise RuntimeError(
            "cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned"
        )


class GpuOrCpuGenerator(torch.Generator):
    """A generator that says which device it is of, and draws on the CPU."""

    of_gpu: ClassVar[dict[int, torch.Generator]] = {}
    """Those of the GPU, by what they are in C++: operators get them as other Python objects."""
    said: torch.device

    def __new__(cls, device: Any = "cpu") -> GpuOrCpuGenerator:
        made = super().__new__(cls)
        made.said = torch.device(device)
        if made.said.type == "cuda":
            cls.of_gpu[made._cdata] = made  # type: ignore[attr-defined]
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self.said


def leaves_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """What an operator is given, out of its lists."""
    leaves: list[Any] = []
    for each in (*args, *kwargs.values()):
        if isinstance(each, (list, tuple)):
            leaves.extend(each)
        else:
            leaves.append(each)
    return leaves


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """``value`` with ``function`` of all that it holds."""
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(function, each) for each in value)
    return function(value)


def is_gpu(leaf: Any) -> bool:
    return isinstance(leaf, GpuTensor)


def is_cpu(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and not isinstance(leaf, GpuTensor)


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class Machine(TorchDispatchMode):
    """A GPU and its processor: runs every operator on the CPU, refuses what a GPU would refuse, and
    notes the rest in ``record``."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record
        self._pinned: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.run(func, args, kwargs or {})

    def pinned(self, tensor: Tensor) -> Tensor:
        """A copy of ``tensor`` in memory that stays where it is."""
        copied = tensor.clone()
        self._pinned[address(copied)] = copied
        return copied

    def fetched(self, tensor: Tensor) -> Tensor:
        """A copy of a tensor on the GPU in main memory, for which the processor waits."""
        self.record.note("operator", "_to_copy")
        self.record.note("wait", "copy to the CPU")
        plain = tensor.detach()
        assert isinstance(plain, GpuTensor)
        return plain.held.clone()

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What ``func`` returns."""
        name = func._schema.name.removeprefix("aten::")
        leaves = leaves_of(args, kwargs)
        asked = _asked(kwargs)
        on_gpu = any(map(is_gpu, leaves)) or (asked is not None and asked.type == "cuda")
        self._check_generator(name, leaves, on_gpu=on_gpu)
        if not on_gpu:
            return self._on_cpu(func, args, kwargs)
        self._check_devices(name, func, args, leaves)
        _check_repeatable(name, func, args, kwargs)
        self.record.note("operator", name)
        self._note_waits(name, args, kwargs, leaves, asked)
        found = func(*mapped(_held, args), **_for_cpu(kwargs))
        if asked == CPU:
            return found
        if name == "copy_" and is_cpu(args[0]):
            return args[0]
        wrapped = mapped(lambda leaf: GpuTensor(leaf, self) if is_cpu(leaf) else leaf, found)
        if any(map(is_gpu, leaves)) and any(r.alias_info for r in func._schema.returns):
            return return_and_correct_aliasing(func, args, kwargs, wrapped)
        return wrapped

    def _on_cpu(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pinned = bool(kwargs.get("pin_memory"))
        made = func(*args, **({**kwargs, "pin_memory": False} if pinned else kwargs))
        if pinned:
            self._pinned[address(made)] = made
        return made

    def _check_generator(self, name: str, leaves: list[Any], *, on_gpu: bool) -> None:
        """Raise if random numbers come from a generator of the other device."""
        if name not in operators.DRAWING:
            return
        for leaf in leaves:
            if not isinstance(leaf, PlainGenerator):
                continue
            of_gpu = leaf._cdata in GpuOrCpuGenerator.of_gpu  # type: ignore[attr-defined]
            if of_gpu != on_gpu:
                wanted, got = ("cuda", "cpu") if on_gpu else ("cpu", "cuda")
                raise RuntimeError(
                    f"Expected a '{wanted}' device type for generator but found '{got}' ({name})"
                )

    def _check_devices(
        self, name: str, func: Any, args: tuple[Any, ...], leaves: list[Any]
    ) -> None:
        """Raise if tensors are on two devices; a number may be a CPU's, and so may an index."""
        if name in operators.COPYING or not any(map(is_gpu, leaves)):
            return
        indices = [i for i in args[1] if is_cpu(i)] if name in operators.INDEXING else []
        indexing = set(map(id, indices))
        for leaf in leaves:
            if is_cpu(leaf) and leaf.dim() and id(leaf) not in indexing:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, cuda:0 and cpu! ({func})"
                )
        for _ in indices:
            self.record.note("pageable copy", f"index of {name}")

    def _note_waits(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        leaves: list[Any],
        asked: torch.device | None,
    ) -> None:
        """Note what of this operator the processor waits for, or copies from pageable memory."""
        if name in operators.WAITING:
            self.record.note("wait", name)
        if name in operators.INDEXING and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
            for index in args[1]
        ):
            self.record.note("wait", f"{name} with a mask")
        if name not in operators.COPYING:
            return
        source = args[1] if name == "copy_" else args[0]
        to_cpu = (asked is not None and asked.type == "cpu") or (
            is_cpu(args[0]) and name == "copy_"
        )
        if to_cpu:
            self.record.note("wait", "copy to the CPU")
        elif is_cpu(source) and not (source.numel() and address(source) in self._pinned):
            self.record.note("pageable copy", "to the GPU")


def _asked(kwargs: dict[str, Any]) -> torch.device | None:
    """The device that is asked for; what torch makes beside such a tensor is on the GPU."""
    device = kwargs.get("device")
    if device is None:
        return None
    return GPU if torch.device(device) == UNDERNEATH else torch.device(device)


def _check_repeatable(name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise under deterministic algorithms if the GPU's kernel of an operator has no fixed order
    of its sums."""
    if name not in operators.RAISING or not torch.are_deterministic_algorithms_enabled():
        return
    given = {
        argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)
    }
    if (
        name in operators.RAISING_WITH
        and {**given, **kwargs}.get(operators.RAISING_WITH[name]) is None
    ):
        return
    raise RuntimeError(
        f"{func} does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'"
    )


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, GpuTensor) else leaf


def _for_cpu(kwargs: dict[str, Any]) -> dict[str, Any]:
    held = {name: mapped(_held, value) for name, value in kwargs.items()}
    return {**held, **({"device": CPU} if held.get("device") is not None else {})}
