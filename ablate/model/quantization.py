"""Matrix products in few bits: quantisers and the products that use them.

Emulated products multiply integer codes in fp32, where codes of eight bits and their sums over about a
thousand terms are exact, and scale the result: the numbers that integer hardware gives, never its speed.
bf16 would round the scaled operands again. Random numbers come from torch's default generator, as dropout's.

Shapes: R rows, C the contracted dimension; M positions, K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ablate.model.autocast import product_dtype

# Codes [R, C] in fp32, and scales [R, 1] or [1, 1]: the value is their product.
Codes = tuple[Tensor, Tensor]
Quantizer = Callable[[Tensor], Codes]

OCTAVES = 6  # of LUQ's grid: a sign and three bits are zero and seven powers of two


# --- quantisers --------------------------------------------------------------------------------------


def _scale(x_RC: Tensor, levels: int) -> Tensor:
    """[R, 1]: what makes each row's largest magnitude the last level; rows of zeros have some scale too."""
    return (x_RC.abs().amax(1, keepdim=True) / levels).clamp_min(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class Nearest:
    """Integers in ±`levels` by rounding to nearest, scaled by each row's largest magnitude."""

    levels: int

    def __call__(self, x_RC: Tensor) -> Codes:
        x_RC = x_RC.float()
        scale_R1 = _scale(x_RC, self.levels)
        return (x_RC / scale_R1).round(), scale_R1


@dataclass(frozen=True)
class Stochastic:
    """Integers in ±`levels`, rounded up or down so that the mean is exact; scaled as `Nearest`."""

    levels: int

    def __call__(self, x_RC: Tensor) -> Codes:
        x_RC = x_RC.float()
        scale_R1 = _scale(x_RC, self.levels)
        up_RC = (x_RC / scale_R1 + torch.rand_like(x_RC)).floor()
        return up_RC.clamp(-self.levels, self.levels), scale_R1


@dataclass(frozen=True)
class Luq:
    """Zero and ±alpha·2^0 … 2^6 with alpha = max / 2^6 of the whole tensor (Chmiel et al. 2023, LUQ).

    Unbiased: below alpha a magnitude becomes alpha or zero, between two powers one of them, each with the
    probability that keeps the mean. `draws` are averaged, which leaves the mean and narrows the noise.
    """

    draws: int = 1

    def __call__(self, x_RC: Tensor) -> Codes:
        x_RC = x_RC.float()
        alpha_11 = (x_RC.abs().amax() / 2**OCTAVES).clamp_min(torch.finfo(torch.float32).tiny).view(1, 1)
        a_RC = x_RC.abs() / alpha_11
        power_RC = torch.ldexp(torch.ones_like(a_RC), torch.frexp(a_RC).exponent - 1)  # largest one <= a
        below = a_RC < 1
        low_RC, gap_RC = power_RC.masked_fill(below, 0.0), power_RC.masked_fill(below, 1.0)
        chance_RC = (a_RC - low_RC) / gap_RC
        ups_RC = torch.zeros_like(a_RC)
        for _ in range(self.draws):
            ups_RC = ups_RC + (torch.rand_like(a_RC) < chance_RC)
        return (low_RC + gap_RC * (ups_RC / self.draws)) * x_RC.sign(), alpha_11


def ternary(w_NK: Tensor) -> Codes:
    """-1, 0 or 1 times the mean magnitude of the whole weight (Ma et al. 2024, arXiv:2402.17764)."""
    w_NK = w_NK.float()
    scale_11 = w_NK.abs().mean().clamp_min(1e-5).view(1, 1)
    return (w_NK / scale_11).round().clamp(-1, 1), scale_11


def binary(w_NK: Tensor) -> Codes:
    """The sign of the centred weight times its mean magnitude (Wang et al. 2023, arXiv:2310.11453)."""
    w_NK = w_NK.float()
    scale_11 = w_NK.abs().mean().clamp_min(1e-5).view(1, 1)
    return torch.where(w_NK >= w_NK.mean(), 1.0, -1.0), scale_11


def multiply(a: Codes, b: Codes) -> Tensor:
    """[R, S] from codes over the same contraction, [R, C] and [S, C]; summed in fp32, scaled afterwards."""
    return (a[0] @ b[0].T) * (a[1] * b[1].T)


def value(coded: Codes) -> Tensor:
    """The numbers that codes and scales stand for."""
    return coded[0] * coded[1]


# --- products ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantized:
    """A product and its two gradients, each quantised or left as `F.linear` computes it.

    y = Q(x) Q(w)ᵀ, gx = G(g) Q(w), gw = G(gᵀ) Q(x): every operand along its own contraction, values by
    `values`, gradients by `gradients` and, for the weight's, by `weight_gradients`.
    """

    values: Quantizer
    gradients: Quantizer
    weight_gradients: Quantizer
    forward: bool = True
    grad_input: bool = True
    grad_weight: bool = True

    def __call__(self, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        """x [..., K] → [..., N]."""
        dtype = product_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            return _Quantized.apply(x, weight_NK, bias_N, self, dtype)


class _Quantized(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None, rule: Quantized, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(x, weight_NK)
        ctx.rule, ctx.dtype, ctx.bias = rule, dtype, bias_N is not None
        if not rule.forward:
            bias = None if bias_N is None else bias_N.to(dtype)
            return F.linear(x.to(dtype), weight_NK.to(dtype), bias)
        y_MN = multiply(rule.values(x.reshape(-1, x.shape[-1])), rule.values(weight_NK))
        if bias_N is not None:
            y_MN = y_MN + bias_N
        return y_MN.to(dtype).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # rounding has no useful derivative: a second backward must fail, not mislead
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_NK = ctx.saved_tensors
        rule, dtype = ctx.rule, ctx.dtype
        x_MK, g_MN = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            if rule.grad_input:
                grad_x = multiply(rule.gradients(g_MN), rule.values(weight_NK.T))
            else:
                grad_x = g_MN @ weight_NK.to(dtype)
            grad_x = grad_x.to(x.dtype).view_as(x)
        if ctx.needs_input_grad[1]:
            if rule.grad_weight:
                grad_weight = multiply(rule.weight_gradients(g_MN.T), rule.values(x_MK.T))
            else:
                grad_weight = g_MN.T @ x_MK.to(dtype)
            grad_weight = grad_weight.to(weight_NK.dtype)
        if ctx.bias and ctx.needs_input_grad[2]:
            grad_bias = g_MN.sum(0).to(weight_NK.dtype)
        return grad_x, grad_weight, grad_bias, None, None


EIGHT_BITS = Nearest(127)  # made here: Dynamo of torch 2.11 cannot make a frozen one in a graph


@dataclass(frozen=True)
class FewBitWeights:
    """BitNet's product: weights of one or three levels, activations of eight bits per position.

    Gradients pass straight through both roundings and are multiplied as `F.linear` would. With `norm` the
    input is first divided by its root mean square, as in the authors' own layer; it has no weight, so that
    tensors keep their names.
    """

    weights: Quantizer
    norm: bool

    def __call__(self, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        """x [..., K] → [..., N]."""
        dtype = product_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            x = F.rms_norm(x.float(), x.shape[-1:], eps=1e-6) if self.norm else x
            return _StraightThrough.apply(x, weight_NK, bias_N, self.weights, dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None, weights: Quantizer, dtype: torch.dtype
    ) -> Tensor:
        x_coded, w_coded = EIGHT_BITS(x.reshape(-1, x.shape[-1])), weights(weight_NK)
        ctx.save_for_backward(value(x_coded).to(dtype), value(w_coded).to(dtype))
        ctx.shape, ctx.x_dtype, ctx.w_dtype, ctx.bias = x.shape, x.dtype, weight_NK.dtype, bias_N is not None
        y_MN = multiply(x_coded, w_coded)
        if bias_N is not None:
            y_MN = y_MN + bias_N
        return y_MN.to(dtype).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # rounding has no useful derivative: a second backward must fail, not mislead
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_MK, weight_NK = ctx.saved_tensors
        g_MN = grad.reshape(-1, grad.shape[-1])
        grad_x = (g_MN @ weight_NK).to(ctx.x_dtype).view(ctx.shape) if ctx.needs_input_grad[0] else None
        grad_weight = (g_MN.T @ x_MK).to(ctx.w_dtype) if ctx.needs_input_grad[1] else None
        grad_bias = g_MN.sum(0).to(ctx.w_dtype) if ctx.bias and ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias, None, None
