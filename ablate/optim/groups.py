"""Parameter groups: which parameters are decayed towards zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


Groups = list[dict[str, Any]]


def parameter_groups(module: nn.Module, weight_decay: float, decay_norms: bool = False) -> Groups:
    """Two groups, decayed and not: biases never decay, norm weights only with `decay_norms`.

    Goes by name as the reference does: a bias ends in `bias`, and every norm lives under an attribute
    whose name contains `norm`. `decay_norms` is the first paper's code, whose filter knew only
    `LayerNorm.weight` and so decayed its `norm1.weight`. Only parameters that need a gradient appear,
    each once, in the module's order.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            (decayed if _decays(name, decay_norms) else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _decays(name: str, decay_norms: bool) -> bool:
    if name.rsplit(".", 1)[-1] == "bias":
        return False
    return decay_norms or "norm" not in name
