"""The kernels of `ablate.bench.short_rows`, in Triton, which is imported only where they run.

A program has one row and one head. `T` positions fill the first of `N` places of a tile.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# Triton reads annotations, so they are not strings here.
import triton
import triton.language as tl


@triton.jit
def _place(
    part: tl.constexpr,
    T: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
    parts: tl.constexpr,
):
    """Where a row's and a head's [N, K] lie in [B, T, parts, H, K], and which are positions."""
    row, head = tl.program_id(0) // H, tl.program_id(0) % H
    t, k = tl.arange(0, N), tl.arange(0, K)
    at = row.to(tl.int64) * (T * parts * H * K) + (part * H + head) * K
    return at + t[:, None] * (parts * H * K) + k[None, :], (t < T)[:, None]


@triton.jit
def _weights(q, k, scale, T: tl.constexpr, N: tl.constexpr):
    """softmax(q kᵀ · scale) [N, N] in fp32; 0 at places that are no positions."""
    scores = tl.dot(q, tl.trans(k)) * (scale * 1.4426950408889634)  # powers of two are what the GPU takes
    if T < N:
        scores = tl.where((tl.arange(0, N) < T)[None, :], scores, float("-inf"))
    powers = tl.exp2(scores - tl.max(scores, 1)[:, None])
    return powers / tl.sum(powers, 1)[:, None]


@triton.jit
def forward(qkv, out, scale, T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, N: tl.constexpr):
    at, real = _place(0, T, H, K, N, 3)
    q = tl.load(qkv + at, real, 0.0)
    at, real = _place(1, T, H, K, N, 3)
    k = tl.load(qkv + at, real, 0.0)
    at, real = _place(2, T, H, K, N, 3)
    v = tl.load(qkv + at, real, 0.0)
    weights = _weights(q, k, scale, T, N)
    at, real = _place(0, T, H, K, N, 1)
    tl.store(out + at, tl.dot(weights.to(v.dtype), v).to(v.dtype), real)


@triton.jit
def backward(qkv, grad, grad_qkv, scale, T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, N: tl.constexpr):
    at_q, real = _place(0, T, H, K, N, 3)
    q = tl.load(qkv + at_q, real, 0.0)
    at_k, real = _place(1, T, H, K, N, 3)
    k = tl.load(qkv + at_k, real, 0.0)
    at_v, real = _place(2, T, H, K, N, 3)
    v = tl.load(qkv + at_v, real, 0.0)
    at, real = _place(0, T, H, K, N, 1)
    g = tl.load(grad + at, real, 0.0)
    weights = _weights(q, k, scale, T, N)
    tl.store(grad_qkv + at_v, tl.dot(tl.trans(weights.to(g.dtype)), g).to(g.dtype), real)
    of_weights = tl.dot(g, tl.trans(v))
    mean = tl.sum(weights * of_weights, 1)[:, None]
    of_scores = (weights * (of_weights - mean) * scale).to(q.dtype)
    tl.store(grad_qkv + at_q, tl.dot(of_scores, k).to(q.dtype), real)
    tl.store(grad_qkv + at_k, tl.dot(tl.trans(of_scores), q).to(q.dtype), real)
