"""Optimizers as configs; torch is imported only where one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    import torch

Beta1 = Annotated[float, Knob("decay of the running mean of gradients", 0.5, 0.99)]
Beta2 = Annotated[
    float,
    Knob(
        "decay of the running mean of squared gradients",
        0.9,
        0.9999,
        paper="Training: 0.98 adopted; 0.999 gave no noticeable change",
    ),
]
Epsilon = Annotated[
    float,
    Knob(
        "added to the root of the squared gradients",
        1e-16,
        1e-3,
        log=True,
        paper="Training: 1e-12 adopted; 1e-6 gave no noticeable change",
    ),
]


class _Optimizer(Config):
    """What every optimizer config can do."""

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        """The optimizer over parameters or groups; `weight_decay` serves groups without their own."""
        raise NotImplementedError


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.98
    eps: Epsilon = 1e-12

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            groups, lr, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=weight_decay, fused=True
        )


class Adam(_Optimizer):
    """Adam with weight decay as an L2 term in the gradient (Kingma & Ba 2015, arXiv:1412.6980)."""

    kind: Literal["adam"] = "adam"
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.999
    eps: Epsilon = 1e-8

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(
            groups, lr, betas=(self.beta1, self.beta2), eps=self.eps, weight_decay=weight_decay, fused=True
        )


class SGD(_Optimizer):
    """Stochastic gradient descent with momentum; scripted in the reference, its result not in the paper."""

    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Knob("decay of the velocity", 0.0, 0.999)] = 0.9
    nesterov: Annotated[bool, Knob("look ahead along the velocity before taking the gradient")] = False

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        nesterov = (
            self.nesterov and self.momentum > 0
        )  # without momentum there is nothing to look ahead along
        return torch.optim.SGD(
            groups, lr, momentum=self.momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
        )


OptimizerConfig = Annotated[AdamW | Adam | SGD, one_of]
