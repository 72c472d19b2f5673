"""torchao's own products of fewer than sixteen bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ablate.model.autocast import product_dtype

Float8Recipe = Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"]


class Int8:
    """torchao's int8 mixed-precision product, as its module swap computes it: rows scaled to ±127.

    The tensor subclass that torchao takes by default quantises nothing in 0.15 to 0.18, so it is not used.
    """

    def __init__(self, forward: bool, grad_input: bool, grad_weight: bool) -> None:
        from torchao.prototype.quantized_training import int8_mixed_precision as torchao

        config = torchao.Int8MixedPrecisionTrainingConfig(
            output=forward, grad_input=grad_input, grad_weight=grad_weight, module_swap=True
        )
        apply = torchao._Int8MixedPrecisionTrainingLinearFunction.apply
        # torch.compile takes the call as one node; it cannot pass the settings as an argument of it.
        self.apply = torch.compiler.allow_in_graph(lambda x, weight, bias: apply(x, weight, bias, config))

    def __call__(self, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        """x [..., K] → [..., N]."""
        dtype = product_dtype(x)
        bias = None if bias_N is None else bias_N.to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            # As a matrix: torchao flattens gradients by a view, which not every layout of three axes allows.
            y_MN = self.apply(x.to(dtype).reshape(-1, x.shape[-1]), weight_NK, bias)
            return y_MN.view(*x.shape[:-1], -1)


class Float8:
    """torchao's float8 product with scales found in every step; `emulate` rounds to float8, then multiplies
    in the input's own type."""

    def __init__(self, recipe: Float8Recipe, emulate: bool) -> None:
        from dataclasses import replace

        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
        from torchao.float8.float8_linear import matmul_with_hp_or_float8_args

        config = replace(Float8LinearConfig.from_recipe_name(recipe), emulate=emulate)
        # Converting a layer also works around a miscompiled kernel, and says how the products are configured.
        example = convert_to_float8_training(
            torch.nn.Sequential(torch.nn.Linear(16, 16, device="meta")), config=config
        )[0]
        self.config, self.products = config, example.linear_mm_config
        self.apply = matmul_with_hp_or_float8_args.apply

    def __call__(self, x: Tensor, weight_NK: Tensor, bias_N: Tensor | None) -> Tensor:
        """x [..., K] → [..., N]."""
        dtype = product_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            y = self.apply(x.to(dtype), weight_NK.t(), self.products, self.config)
            return y if bias_N is None else y + bias_N.to(y.dtype)
