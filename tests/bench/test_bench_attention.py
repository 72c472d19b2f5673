"""Attention by backend: all are the same function, and what cannot be had is said."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from ablate.bench import attention, short_rows
from ablate.bench.errors import BenchError
from tests.training.tiny import tiny


def test_backends_are_the_same_function_and_their_times_add_up() -> None:
    found = attention.bench(tiny(), lengths=(16, 32), rows=4, rounds=3)
    groups = attention._groups(found.costs)
    assert [(group[0].rows, group[0].length) for group in groups] == [(4, 16)] * 4 + [(2, 32)] * 4
    assert [group[0].bias for group in groups[:4]] == ["none", "constant", "learned", "padding"]
    assert all({attention.OURS, "explicit"} <= {cost.backend for cost in group} for group in groups)
    assert all(cost.error < 1e-5 and cost.seconds > 0 for cost in found.costs)
    fastest = [min(group, key=lambda cost: cost.seconds) for group in groups]
    own = [next(cost for cost in group if cost.backend == attention.OURS) for group in groups]
    assert found.slowest() == max(
        mine.seconds / best.seconds for mine, best in zip(own, fastest, strict=True)
    )
    # A layer's 2 products of 2 heads of 8, forward and twice as much backward.
    assert own[0].flops_per_second * own[0].seconds == pytest.approx(3 * 2 * (2 * 4 * 16 * 16 * 2 * 8))


def test_what_cannot_be_had_is_said_and_why() -> None:
    found = attention.bench(tiny(), lengths=(16,), rows=2, rounds=1)
    told = {line.split(",")[0]: line for line in reversed(found.without)}
    measured = {cost.backend for cost in found.costs}
    assert measured | set(told) == set(attention.BACKENDS)
    assert "bias none: it takes rows of at most 128 tokens in 16 bits without a bias" in told["one kernel"]


def test_rows_that_do_not_fill_the_longest_are_refused() -> None:
    with pytest.raises(BenchError, match="2 rows of 16 are too few for one of 64; give more rows"):
        attention.bench(tiny(), lengths=(16, 64), rows=2)


SHAPES = [(2, 128, 3, 64), (3, 37, 2, 32), (2, 16, 1, 16), (2, 1, 2, 64)]  # B, T, H, K


def compare(dtype: torch.dtype, device: str, most: float) -> None:
    """The one kernel's result and gradient against fp64."""
    for B, T, H, K in SHAPES:
        generator = torch.Generator().manual_seed(T)
        qkv = torch.randn(B, T, 3, H, K, generator=generator).to(device, dtype).requires_grad_()
        upward = torch.randn(B, T, H, K, generator=generator).to(device, dtype)
        out = short_rows.attention(qkv)
        out.backward(upward)
        exact = qkv.detach().double().requires_grad_()
        wanted = F.scaled_dot_product_attention(*exact.permute(2, 0, 3, 1, 4).unbind()).transpose(1, 2)
        wanted.backward(upward.double())
        assert qkv.grad is not None
        assert exact.grad is not None
        for mine, true in ((out, wanted), (qkv.grad, exact.grad)):
            # One position's weights are 1 whatever the scores, so two of its three gradients are 0.
            assert (mine.double() - true).norm() <= most * true.norm().clamp(min=1), (B, T, H, K)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
def test_the_one_kernel_is_attention_in_tritons_interpreter() -> None:
    """Which has no bf16; it must be chosen before Triton is imported."""
    code = "import torch; from tests.bench.test_bench_attention import compare; compare(torch.float16, 'cpu', 2e-3)"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.environ['TRITON_INTERPRET'] = '1'; {code}"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_the_one_kernel_is_attention_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    compare(torch.bfloat16, "cuda", 1e-2)
    sample = torch.randn(2, 64, 3, 2, 32, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    torch.library.opcheck(short_rows.attention, (sample,))
