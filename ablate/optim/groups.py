"""Parameter groups: which parameters are decayed towards zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


Groups = list[dict[str, Any]]


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    decay_norms: bool = False,
    decay_biases: bool = False,
    decay_embeddings: bool = True,
) -> Groups:
    """Two groups, decayed and not: biases decay only with `decay_biases`, norm weights with `decay_norms`,
    the tables of words and positions but for `decay_embeddings: false`.

    Goes by name as the reference does: a bias ends in `bias`, and every norm lives under an attribute
    whose name contains `norm`. `decay_norms` is the first paper's code, whose filter knew only
    `LayerNorm.weight` and so decayed its `norm1.weight`. Only parameters that need a gradient appear,
    each once, in the module's order.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = decay_biases if name.rsplit(".", 1)[-1] == "bias" else _weight_decays(
                name, decay_norms, decay_embeddings
            )  # fmt: skip
            (decayed if decays else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _weight_decays(name: str, norms: bool, embeddings: bool) -> bool:
    if "norm" in name:
        return norms
    return embeddings or ".embedding." not in f".{name}"
