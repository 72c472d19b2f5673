"""Which type a product is computed in, and how a part stays out of that.

The meta device, on which models are counted, has no autocast. It is told by name: Dynamo of torch 2.11 cannot
trace `torch.amp.is_autocast_available`.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def product_dtype(x: Tensor) -> torch.dtype:
    """What `F.linear` would compute in: autocast's type, else the input's own."""
    device = x.device.type
    cast = device != "meta" and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if cast else x.dtype


def uncast(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Without autocast, on the devices that have it."""
    device = x.device.type
    return contextlib.nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def wide(x: Tensor) -> Tensor:
    """In fp32, or in fp64 where it is in that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
