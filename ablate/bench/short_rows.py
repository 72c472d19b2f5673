"""A candidate of `ablate bench attention`: one GPU kernel for rows short enough to be held on chip whole.

At 128 tokens what attention costs is moving its operands, and kernels made for long rows move them too often:
they keep sums of the softmax for a second pass, add up the gradient of the queries in fp32 in the GPU's
memory, and leave three gradients that are copied into one before the projection can read them. A whole row
needs none of that. Both passes here read queries, keys and values where the projection has put them, and
backward writes their gradients there too. The model takes it once a GPU's figures say that it should.

Shapes: B batch, T position, H head, K head width.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import ModuleType

LONGEST = 128  # positions: scores and weights of a row, in fp32, fill the registers of eight warps
WIDTHS = (16, 32, 64)
HAVE_TRITON = importlib.util.find_spec("triton") is not None and torch.version.hip is None


def fits(qkv_BT3HK: Tensor) -> bool:
    """Whether `attention` can be had: 16 bits, short rows, Triton, and an NVIDIA GPU from Ampere on."""
    return (
        HAVE_TRITON
        and qkv_BT3HK.device.type == "cuda"
        and qkv_BT3HK.dtype in (torch.bfloat16, torch.float16)
        and qkv_BT3HK.shape[1] <= LONGEST
        and qkv_BT3HK.shape[-1] in WIDTHS
        and torch.cuda.get_device_properties(qkv_BT3HK.device).major >= 8
    )


@torch.library.custom_op("ablate::attention", mutates_args=())
def attention(qkv_BT3HK: Tensor) -> Tensor:
    """softmax(q kᵀ / √K) v, [B, T, H, K], of packed queries, keys and values."""
    B, T, _, H, K = qkv_BT3HK.shape
    out_BTHK = qkv_BT3HK.new_empty(B, T, H, K)
    _kernels().forward[(B * H,)](qkv_BT3HK.contiguous(), out_BTHK, K**-0.5, T, H, K, _tile(T), num_warps=8)
    return out_BTHK


@torch.library.custom_op("ablate::attention_backward", mutates_args=())
def attention_backward(grad_BTHK: Tensor, qkv_BT3HK: Tensor) -> Tensor:
    """The gradient of the packed queries, keys and values."""
    B, T, _, H, K = qkv_BT3HK.shape
    grad_BT3HK = torch.empty_like(qkv_BT3HK, memory_format=torch.contiguous_format)
    _kernels().backward[(B * H,)](
        qkv_BT3HK.contiguous(), grad_BTHK.contiguous(), grad_BT3HK, K**-0.5, T, H, K, _tile(T), num_warps=8
    )
    return grad_BT3HK


@attention.register_fake
def _(qkv_BT3HK: Tensor) -> Tensor:
    B, T, _, H, K = qkv_BT3HK.shape
    return qkv_BT3HK.new_empty(B, T, H, K)


@attention_backward.register_fake
def _(grad_BTHK: Tensor, qkv_BT3HK: Tensor) -> Tensor:
    return torch.empty_like(qkv_BT3HK, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_BTHK: Tensor) -> Tensor:
    return attention_backward(grad_BTHK, *ctx.saved_tensors)


attention.register_autograd(_backward, setup_context=_keep)


def _tile(T: int) -> int:
    """A power of two, 16 at least, as products of tiles need."""
    return max(16, 1 << (T - 1).bit_length())


@functools.cache
def _kernels() -> ModuleType:
    from ablate.bench import short_rows_triton

    return short_rows_triton
