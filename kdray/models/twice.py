"""Layers whose input gradient is differentiated with the kernels of its own computation.

The loss of an input gradient (robust_student, eq. 16) goes through a backward pass, which it
differentiates in turn. Torch has slow ways for that: a convolution's weight takes a convolution
whose kernel is as large as the image, batch norm some thirty passes over memory, ReLU a tensor of
zeros that is added. All can be had from what their first derivative needs:

* a convolution's input gradient is linear in the gradient g of its output and in its weight; for a
  cotangent v the derivatives
  are the convolution of v, and the weight's usual derivative with v in the place of the image;
* batch norm in train mode has dx = γ/σ·P·g, where P = 1 - 11ᵀ/N - x̂x̂ᵀ/N over the N values of a
  channel. It is symmetric: the
  derivative for g is the same kernel again. With φ = ⟨v, P·g⟩/σ
  that for x is -(γ·φ·x̂ + ⟨x̂, v⟩·dx + ⟨x̂, g⟩·γ/σ·P·v) / (σ·N), and that for γ is φ;
* ReLU's is the same mask again.

First derivatives have the same bits as torch's (on a GPU: as its own kernels of batch norm, not
those of cuDNN), second ones differ by rounding. A derivative that is to be differentiated
(``create_graph``) is for the images alone: weights get none then, and there is no third.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]
Size = int | Pair
Geometry = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation, groups."""
Three = tuple[Tensor | None, Tensor | None, Tensor | None]


def _applied(layer: type[Function], *given: Any) -> Any:
    return layer.apply(*given)


class _Convolution(Function):
    """Of x with w, plus b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.geometry, ctx.biased = geometry, b is not None
        return torch.conv2d(x, w, b, *geometry)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _applied(_ForImage, g, w, x.detach(), ctx.geometry), None, None, None
        for_x, for_w, _, _ = ctx.needs_input_grad
        return *_derivatives(g, x, w, ctx.geometry, (for_x, for_w, ctx.biased)), None


class _ForImage(Function):
    """What the gradient g of a convolution's output is for its image, of which only the shape
    counts."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, w: Tensor, x: Tensor, geometry: Geometry) -> Tensor | None:
        ctx.save_for_backward(g, w)
        ctx.geometry = geometry
        return _derivatives(g, x, w, geometry, (True, False, False))[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, w = ctx.saved_tensors
        _, dw, _ = _derivatives(g, v, w, ctx.geometry, (False, True, False))
        return torch.conv2d(v, w, None, *ctx.geometry), dw, None, None


def _derivatives(
    g: Tensor, x: Tensor, w: Tensor, geometry: Geometry, wanted: tuple[bool, bool, bool]
) -> Three:
    """Of a convolution, for its image, its weight and its bias; ``g`` is its output's."""
    stride, padding, dilation, groups = geometry
    found: Three = torch.ops.aten.convolution_backward(
        g, x, w, [len(w)], stride, padding, dilation, False, [0, 0], groups, wanted
    )
    return found


class _Norm(Function):
    """Batch norm by the batch's statistics; moves the running ones."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor | None, Tensor | None],
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, mean, scale = torch.native_batch_norm(x, weight, bias, *running, True, momentum, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale = ctx.saved_tensors
        dx, dweight, dbias = _applied(_NormBackward, g, x, weight, mean, scale, ctx.eps)
        return dx, dweight, dbias, None, None, None


class _NormBackward(Function):
    """(γ/σ·P·g, ⟨x̂, g⟩, ⟨1, g⟩), of which only the first is differentiated."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dx, along, total = _norm_backward(g, x, weight, mean, scale, eps)
        ctx.save_for_backward(g, x, weight, mean, scale, dx, along, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(along, total)
        return dx, along, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, mean, scale, dx, along_g, total_g = ctx.saved_tensors
        dg, along_v, total_v = _norm_backward(v, x, weight, mean, scale, ctx.eps)
        count = x.numel() // x.shape[1]
        inner = (g * v).transpose(0, 1).flatten(1).sum(1)
        phi = scale * (inner - (total_g * total_v + along_g * along_v) / count)
        # x̂ = scale·(x - mean), so that its part is one multiple of x and a constant.
        of_x, of_dx, of_dg = (
            -weight * phi * scale**2 / count,
            -along_v * scale / count,
            -along_g * scale / count,
        )
        wide = (1, -1, *(1,) * (x.ndim - 2))
        for_x = torch.addcmul((-of_x * mean).view(wide), x, of_x.view(wide))
        for_x.addcmul_(dx, of_dx.view(wide)).addcmul_(dg, of_dg.view(wide))
        return dg, for_x, phi, None, None, None


def _norm_backward(
    g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """γ/σ·P·g, ⟨x̂, g⟩ and ⟨1, g⟩."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        g, x, weight, None, None, mean, scale, True, eps, [True, True, True]
    )
    return found


class _ReLU(Function):
    """max(0, x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        found: Tensor = _applied(_Masked, g, ctx.saved_tensors[0])
        return found


class _Masked(Function):
    """g where y is positive, else 0."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        masked: Tensor = torch.ops.aten.threshold_backward(g, y, 0)
        return masked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        return torch.ops.aten.threshold_backward(v, ctx.saved_tensors[0], 0), None


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor | None:
    """As ``functional.conv2d``; none: leave it to torch."""
    if isinstance(padding, str):
        return None
    y: Tensor = _applied(
        _Convolution, x, weight, bias, (_pair(stride), _pair(padding), _pair(dilation), groups)
    )
    return y


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """As ``functional.batch_norm``; none: leave it to torch."""
    if (
        not training or weight is None or bias is None or x.numel() == x.shape[1]
    ):  # which has no variance: torch says so
        return None
    y: Tensor = _applied(_Norm, x, weight, bias, (running_mean, running_var), momentum, eps)
    return y


def relu(x: Tensor, inplace: bool = False) -> Tensor | None:
    """As ``functional.relu``; none: leave it to torch."""
    y: Tensor | None = None if inplace else _applied(_ReLU, x)
    return y


def _pair(size: Size) -> Pair:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


OURS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    functional.conv2d: convolution,
    functional.batch_norm: batch_norm,
    functional.relu: relu,
}


class _Ours(TorchFunctionMode):
    """Calls :data:`OURS` in the place of torch's."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        found = OURS[func](*args, **(kwargs or {})) if func in OURS else None
        return func(*args, **(kwargs or {})) if found is None else found


def differentiable_twice(device: torch.device) -> AbstractContextManager[object]:
    """Within it a network's forward pass is made of these layers, unless its operands are rounded
    to bfloat16, which torch does to its own layers only."""
    return nullcontext() if torch.is_autocast_enabled(device.type) else _Ours()
