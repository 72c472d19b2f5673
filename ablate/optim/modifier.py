"""What happens between backward and the optimizer's step.

`rate` scales a tensor's gradient; SAM needs a second gradient at perturbed weights, for which the step keeps
its micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ablate.knobs import Config, Knob, kind_of, one_of

if TYPE_CHECKING:
    from torch import Tensor

    from ablate.recipe import Recipe


class _Modifier(Config):
    """What modifiers have in common."""

    second_pass: ClassVar[bool] = False  # every micro-batch of a step is computed twice

    def climb(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Where a second gradient is taken: move the weights there; returns the move."""
        raise NotImplementedError

    def descend(self, parameters: Sequence[Tensor], moves: list[Tensor]) -> None:
        """Back to where `climb` started; call it before the gradients are cleared."""
        raise NotImplementedError

    def before(self, groups: Any) -> None:
        """Change the gradients of an optimizer's groups, after clipping and before its step."""


class Sam(_Modifier):
    """The gradient at the worst point of a ball of radius rho around the weights (Foret et al. 2021,
    arXiv:2010.01412); twice the work per step.
    """

    kind: Literal["sam"] = "sam"
    second_pass: ClassVar[bool] = True
    rho: Annotated[float, Knob("radius of the ball", 1e-4, 1.0, log=True)] = 0.05

    def climb(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        import torch

        with_grad = [p for p in parameters if p.grad is not None]
        gradients = [p.grad for p in with_grad if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        moves = list(torch._foreach_mul(gradients, self.rho / (norm + 1e-12)))
        with torch.no_grad():
            torch._foreach_add_(with_grad, moves)
        return moves

    def descend(self, parameters: Sequence[Tensor], moves: list[Tensor]) -> None:
        import torch

        with torch.no_grad():
            torch._foreach_sub_([p for p in parameters if p.grad is not None], moves)

    def conflicts(self, recipe: Recipe) -> list[str]:
        train, told = recipe.train, []
        if train.precision.kind in ("fp16", "fp16-scaled", "bf16-pure"):
            told.append(
                f"train.modifier sam moves weights by small steps and back, which train.precision "
                f"{train.precision.kind} would round or scale; take bf16 or fp32"
            )
        if train.optimizer.second_order:
            told.append(
                f"train.modifier sam replaces the gradient whose graph train.optimizer "
                f"{train.optimizer.kind} needs; take one of the two"
            )
        return told


class Lars(_Modifier):
    """Each tensor's gradient scaled to a share of its weights' norm (You et al. 2017, arXiv:1708.03888)."""

    kind: Literal["lars"] = "lars"
    trust: Annotated[float, Knob("largest step as a share of the weights' norm", 1e-4, 1.0, log=True)] = 1e-3

    def ratio(self, trusted: Tensor, rate: float) -> Tensor:
        """What a gradient is multiplied by, from trust · |w| / |g|."""
        return trusted

    def before(self, groups: Any) -> None:
        import torch

        with torch.no_grad():
            for group in groups:
                rate = float(group["lr"])
                for p in group["params"]:
                    # Vectors (norms, biases) keep their rate, as in the authors' code.
                    if p.grad is None or p.ndim < 2:
                        continue
                    weight, gradient = p.norm(), p.grad.norm()
                    decayed = gradient + group["weight_decay"] * weight
                    trusted = torch.where(
                        (weight > 0) & (gradient > 0), self.trust * weight / decayed, torch.ones_like(weight)
                    )
                    p.grad.mul_(self.ratio(trusted, rate))

    def cautions(self, recipe: Recipe) -> list[str]:
        kind = recipe.train.optimizer.kind
        if kind in ("sgd",):
            return []
        return [
            f"train.modifier {kind_of(type(self))} with train.optimizer {kind}: an adaptive optimizer "
            "divides the scale out again, but for its running means; made for sgd (You et al. 2017)"
        ]


class Larc(Lars):
    """LARS that never steps further than the rate itself allows."""

    kind: Literal["larc"] = "larc"  # type: ignore[assignment]

    def ratio(self, trusted: Tensor, rate: float) -> Tensor:
        return (trusted / max(rate, 1e-20)).clamp(max=1.0)


def total_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Global L2 norm of the gradients."""
    import torch

    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


ModifierConfig = Annotated[Sam | Lars | Larc, one_of]
