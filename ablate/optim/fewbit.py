"""torchao's Adam with few-bit state, its step uncompiled.

Compiling takes seconds per weight shape, and the first step would have it charged to the training clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torchao.optim import AdamW4bit as _AdamW4bit
from torchao.optim import AdamW8bit as _AdamW8bit


class AdamW8bit(_AdamW8bit):  # type: ignore[misc]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.compiler.set_stance("force_eager"):
            return super().step(closure)


class AdamW4bit(_AdamW4bit):  # type: ignore[misc]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        with torch.compiler.set_stance("force_eager"):
            return super().step(closure)
