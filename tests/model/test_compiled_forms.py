"""What is written otherwise where it is compiled is still the function of its name, and so are its gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.gelu import gelu
from ablate.model.likelihood import negative_log_likelihood


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager")


def with_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """The value, and the gradient of a sum whose terms have unequal weights."""
    at = at.detach().requires_grad_()
    y = function(at)
    (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    assert at.grad is not None
    return y.detach(), at.grad


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.bfloat16, 1.6e-2)])
def test_compiled_gelu(dtype: torch.dtype, near: float) -> None:
    x = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([0.0, -0.0, 1e-30, 100.0, -100.0])]).to(dtype)
    y, slope = with_gradient(compiled(lambda x: gelu(x)), x)
    exact, exact_slope = with_gradient(F.gelu, x.double())
    assert y.dtype == slope.dtype == dtype
    torch.testing.assert_close(y.double(), exact, atol=near, rtol=near / 2)
    torch.testing.assert_close(slope.double(), exact_slope, atol=2 * near, rtol=near / 2)


@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
def test_compiled_likelihood(scale: float) -> None:
    generator = torch.Generator().manual_seed(5)
    logits_NV = torch.randn(64, 97, generator=generator) * scale
    labels_N = torch.randint(97, (64,), generator=generator)
    loss_N, slope = with_gradient(compiled(lambda z: negative_log_likelihood(z, labels_N)), logits_NV)
    exact_N, exact = with_gradient(
        lambda z: F.cross_entropy(z, labels_N, reduction="none"), logits_NV.double()
    )
    torch.testing.assert_close(loss_N.double(), exact_N, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(slope.double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [gelu, lambda x: negative_log_likelihood(x.view(8, 5), torch.arange(8) % 5)],
    ids=["gelu", "likelihood"],
)
def test_these_forms_are_what_is_compiled(function: Callable[[Tensor], Tensor]) -> None:
    """Otherwise the claims above were about torch's own functions."""
    seen: list[str] = []

    def note(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Tensor]:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch.compiler.reset()
    torch.compile(function, fullgraph=True, backend=note)(torch.randn(40, requires_grad=True))
    assert any("autograd" in target or "Function" in target for target in seen), seen
