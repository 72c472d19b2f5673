"""pytorch_optimizer's Shampoo from its first step on."""

from __future__ import annotations

from typing import Any

import pytorch_optimizer
import torch


class Shampoo(pytorch_optimizer.Shampoo):
    """Its inverse roots are zero until they are first computed, so that the first steps would change nothing;
    here they are the identity, which makes those steps gradient descent's.
    """

    def init_group(self, group: dict[str, Any], **more: Any) -> None:
        new = [p for p in group["params"] if p.grad is not None and not self.state[p]]
        super().init_group(group, **more)
        for p in new:
            for dim, size in enumerate(p.shape):
                torch.eye(size, out=self.state[p][f"inv_pre_cond_{dim}"])
