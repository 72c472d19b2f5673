"""Optimizers as configs; torch, torchao and pytorch_optimizer are imported only where one is built."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ablate.knobs import Config, Knob, kind_of, one_of
from ablate.optim.groups import Groups, parameter_groups

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ablate.recipe import Recipe

INSTALL = {
    "pytorch_optimizer": "pip install 'ablate-bert[optimizers]'",
    "torchao": "pip install 'ablate-bert[quantization]'",
}

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

    library: ClassVar[str] = "torch"
    second_order: ClassVar[bool] = False  # needs the graph of the gradients

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        """The optimizer over parameters or groups; `weight_decay` serves groups without their own."""
        raise NotImplementedError

    def groups(self, module: nn.Module, weight_decay: float, *decays: bool) -> Groups:
        """The parameter groups that `build` expects; `decays` as `parameter_groups` has them."""
        return parameter_groups(module, weight_decay, *decays)

    def conflicts(self, recipe: Recipe) -> list[str]:
        told, train = [], recipe.train
        name = f"train.optimizer {kind_of(type(self))}"
        if importlib.util.find_spec(self.library) is None:
            told.append(f"{name} needs {self.library}, which is not installed: {INSTALL[self.library]}")
        if self.second_order and train.precision.kind not in ("fp32", "tf32", "bf16"):
            told.append(
                f"{name} takes second derivatives, which train.precision {train.precision.kind} has not; "
                "take fp32, tf32 or bf16"
            )
        if self.second_order and train.compile:
            told.append(
                f"{name} takes second derivatives, which compiled graphs have not; set train.compile: false"
            )
        return told


class _Adam(_Optimizer):
    """Two running means."""

    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.98
    eps: Epsilon = 1e-12

    @property
    def betas(self) -> tuple[float, float]:
        """Both decays."""
        return self.beta1, self.beta2


class AdamW(_Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(
            groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay, fused=True
        )


class Adam(_Adam):
    """Adam with weight decay as an L2 term in the gradient (Kingma & Ba 2015, arXiv:1412.6980)."""

    kind: Literal["adam"] = "adam"
    beta2: Beta2 = 0.999
    eps: Epsilon = 1e-8

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adam(
            groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay, fused=True
        )

    def same(self, recipe: Recipe) -> dict[str, Any]:
        if recipe.train.weight_decay:
            return {}
        return {"train.optimizer": AdamW(beta1=self.beta1, beta2=self.beta2, eps=self.eps)}


class RAdam(_Adam):
    """Adam whose adaptive step is held back while its variance is unknown (Liu et al. 2020,
    arXiv:1908.03265), with decoupled weight decay.
    """

    kind: Literal["radam"] = "radam"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.RAdam(
            groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay, decoupled_weight_decay=True
        )


class AdamWScaled(_Adam):
    """AdamW whose steps are in proportion to each tensor's root mean square (nanoT5, Nawrot 2023,
    arXiv:2309.02373); rates about ten times AdamW's.
    """

    kind: Literal["adamw-scaled"] = "adamw-scaled"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        from ablate.optim.scaled import AdamWScaled as Built

        return Built(groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay)


class AdamW8bit(_Adam):
    """AdamW with running means in 8 bits, a scale per 256 (Dettmers et al. 2022, arXiv:2110.02861)."""

    kind: Literal["adamw-8bit"] = "adamw-8bit"
    library: ClassVar[str] = "torchao"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        from ablate.optim.fewbit import AdamW8bit as Built

        return Built(groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay)


class AdamW4bit(_Adam):
    """AdamW with running means in 4 bits, a scale per 128 of them (Li et al. 2023, arXiv:2309.01507)."""

    kind: Literal["adamw-4bit"] = "adamw-4bit"
    library: ClassVar[str] = "torchao"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        from ablate.optim.fewbit import AdamW4bit as Built

        return Built(groups, lr, betas=self.betas, eps=self.eps, weight_decay=weight_decay)


class Adafactor(_Optimizer):
    """Squared gradients by row and column sums (Shazeer & Stern 2018, arXiv:1804.04235)."""

    kind: Literal["adafactor"] = "adafactor"
    beta2_decay: Annotated[
        float, Knob("exponent of the second moment's decay over the steps", -1.0, -0.1)
    ] = -0.8
    threshold: Annotated[float, Knob("largest root mean square of an update", 1.0, 10.0, log=True)] = 1.0

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        return torch.optim.Adafactor(
            groups, lr, beta2_decay=self.beta2_decay, d=self.threshold, weight_decay=weight_decay
        )


class SGD(_Optimizer):
    """Stochastic gradient descent with momentum; scripted in the reference, its result not in the paper."""

    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[float, Knob("decay of the velocity", 0.0, 0.999)] = 0.9
    nesterov: Annotated[bool, Knob("look ahead along the velocity before taking the gradient")] = False

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import torch

        # Without momentum there is nothing to look ahead along.
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(
            groups, lr, momentum=self.momentum, nesterov=nesterov, weight_decay=weight_decay, fused=True
        )

    def inert(self, recipe: Recipe) -> list[str]:
        return ["train.optimizer.nesterov"] if self.momentum == 0 else []


class AGD(_Optimizer):
    """Automatic gradient descent (Bernstein et al. 2023, arXiv:2304.05187): `train.lr` is its gain, 1 in the
    paper, which has no rate; meant for `model.init: {kind: orthogonal, scaled: true}`.
    """

    kind: Literal["agd"] = "agd"

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        from ablate.optim.agd import AGD as Built

        return Built(groups, lr, weight_decay)

    def cautions(self, recipe: Recipe) -> list[str]:
        init = recipe.model.init
        if init.kind == "orthogonal" and init.scaled:
            return []
        return [
            f"train.optimizer agd with model.init {init.kind}: its steps are made for matrices whose "
            "singular values are sqrt(outputs / inputs) (Bernstein et al. 2023); set model.init to "
            "{kind: orthogonal, scaled: true}"
        ]


class Lion(_Optimizer):
    """The sign of an interpolated mean gradient (Chen et al. 2023, arXiv:2302.06675); rates about a tenth of
    AdamW's.
    """

    kind: Literal["lion"] = "lion"
    library: ClassVar[str] = "pytorch_optimizer"
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.99

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import pytorch_optimizer

        return pytorch_optimizer.Lion(groups, lr, betas=(self.beta1, self.beta2), weight_decay=weight_decay)


class Muon(_Optimizer):
    """Orthogonalised momentum for the matrices of the blocks, AdamW for the rest (Jordan et al. 2024).

    `train.lr` is AdamW's rate; the matrices take `ratio` times that.
    """

    kind: Literal["muon"] = "muon"
    library: ClassVar[str] = "pytorch_optimizer"
    momentum: Annotated[float, Knob("decay of the velocity", 0.0, 0.999)] = 0.95
    ratio: Annotated[float, Knob("rate of the matrices over the rest's", 0.1, 100.0, log=True)] = 20.0
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.98
    eps: Epsilon = 1e-12

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import pytorch_optimizer

        marked = [
            {**group, "lr": lr * self.ratio if group["use_muon"] else lr}
            | ({} if group["use_muon"] else {"betas": (self.beta1, self.beta2), "eps": self.eps})
            for group in groups
        ]
        return pytorch_optimizer.Muon(marked, lr, momentum=self.momentum, weight_decay=weight_decay)

    def groups(self, module: nn.Module, weight_decay: float, *decays: bool) -> Groups:
        hidden = {id(p) for n, p in module.named_parameters() if p.ndim == 2 and ".blocks." in f".{n}"}
        split = []
        for group in parameter_groups(module, weight_decay, *decays):
            for muon in (True, False):
                chosen = [p for p in group["params"] if (id(p) in hidden) is muon]
                if chosen:
                    split.append({**group, "params": chosen, "use_muon": muon})
        return split


class Shampoo(_Optimizer):
    """A preconditioner for each side of a matrix (Gupta et al. 2018, arXiv:1802.09568)."""

    kind: Literal["shampoo"] = "shampoo"
    library: ClassVar[str] = "pytorch_optimizer"
    momentum: Annotated[float, Knob("decay of the velocity", 0.0, 0.999)] = 0.9
    every: Annotated[int, Knob("steps between two computations of the roots", 1, 1000, log=True)] = 10
    eps: Annotated[float, Knob("added to the statistics' diagonal", 1e-12, 1e-2, log=True)] = 1e-6
    largest: Annotated[
        int,
        Knob(
            "a side longer than this keeps only the diagonal of its preconditioner",
            8,
            65536,
            log=True,
            cost="memory: twice its square; time: its cube",
        ),
    ] = 4096

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        from ablate.optim.shampoo import Shampoo as Built

        return Built(
            groups, lr, momentum=self.momentum, weight_decay=weight_decay, weight_decouple=True,
            preconditioning_compute_steps=self.every, matrix_eps=self.eps, largest=self.largest,
        )  # fmt: skip


class Soap(_Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioners (Vyas et al. 2024, arXiv:2409.11321)."""

    kind: Literal["soap"] = "soap"
    library: ClassVar[str] = "pytorch_optimizer"
    beta1: Beta1 = 0.95
    beta2: Beta2 = 0.95
    every: Annotated[int, Knob("steps between two computations of the basis", 1, 1000, log=True)] = 10
    largest: Annotated[
        int,
        Knob("sides longer than this are left as they are", 8, 65536, log=True, cost="memory: its square"),
    ] = 4096

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import pytorch_optimizer

        return pytorch_optimizer.SOAP(
            groups, lr, betas=(self.beta1, self.beta2), weight_decay=weight_decay,
            precondition_frequency=self.every, max_precondition_dim=self.largest,
        )  # fmt: skip


class _Curvature(_Optimizer):
    """Optimizers that estimate the Hessian's diagonal from random directions (Hutchinson)."""

    library: ClassVar[str] = "pytorch_optimizer"
    second_order: ClassVar[bool] = True
    beta1: Beta1 = 0.9
    beta2: Beta2 = 0.99
    every: Annotated[
        int,
        Knob("steps between two estimates of the curvature", 1, 100, log=True, cost="a second backward each"),
    ] = 10


class Sophia(_Curvature):
    """Mean gradient over mean curvature, clipped (Liu et al. 2023, arXiv:2305.14342, Sophia-H)."""

    kind: Literal["sophia"] = "sophia"
    beta1: Beta1 = 0.96
    clip: Annotated[float, Knob("largest step per weight, in units of the rate", 1e-4, 1.0, log=True)] = 0.01

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import pytorch_optimizer

        return pytorch_optimizer.SophiaH(
            groups, lr, betas=(self.beta1, self.beta2), weight_decay=weight_decay, p=self.clip,
            update_period=self.every,
        )  # fmt: skip


class AdaHessian(_Curvature):
    """Adam with the Hessian's diagonal for the gradient's square (Yao et al. 2021, arXiv:2006.00719)."""

    kind: Literal["adahessian"] = "adahessian"
    every: Annotated[
        int,
        Knob("steps between two estimates of the curvature", 1, 100, log=True, cost="a second backward each"),
    ] = 1
    eps: Epsilon = 1e-16

    def build(self, groups: Any, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
        import pytorch_optimizer

        return pytorch_optimizer.AdaHessian(
            groups, lr, betas=(self.beta1, self.beta2), weight_decay=weight_decay, eps=self.eps,
            update_period=self.every,
        )  # fmt: skip


OptimizerConfig = Annotated[
    AdamW
    | Adam
    | RAdam
    | AdamWScaled
    | AdamW8bit
    | AdamW4bit
    | Adafactor
    | SGD
    | AGD
    | Lion
    | Muon
    | Shampoo
    | Soap
    | Sophia
    | AdaHessian,
    one_of,
]
