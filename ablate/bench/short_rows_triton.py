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
    parts: tl.constexpr,
    T: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
):
    """Where a row's and a head's [N, K] lie in [B, T, parts, H, K], and which of them are positions."""
    row, head = tl.program_id(0) // H, tl.program_id(0) % H
    t, k = tl.arange(0, N), tl.arange(0, K)
    first = row.to(tl.int64) * (T * parts * H * K) + (part * H + head) * K
    return first + t[:, None] * (parts * H * K) + k[None, :], (t < T)[:, None]


@triton.jit
def _load(
    of,
    part: tl.constexpr,
    parts: tl.constexpr,
    T: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
):
    at, real = _place(part, parts, T, H, K, N)
    return tl.load(of + at, real, 0.0)


@triton.jit
def _store(
    to,
    tile,
    part: tl.constexpr,
    parts: tl.constexpr,
    T: tl.constexpr,
    H: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
):
    at, real = _place(part, parts, T, H, K, N)
    tl.store(to + at, tile.to(to.dtype.element_ty), real)


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
    q, k, v = _load(qkv, 0, 3, T, H, K, N), _load(qkv, 1, 3, T, H, K, N), _load(qkv, 2, 3, T, H, K, N)
    _store(out, tl.dot(_weights(q, k, scale, T, N).to(v.dtype), v), 0, 1, T, H, K, N)


@triton.jit
def backward(qkv, grad, grad_qkv, scale, T: tl.constexpr, H: tl.constexpr, K: tl.constexpr, N: tl.constexpr):
    q, k, v = _load(qkv, 0, 3, T, H, K, N), _load(qkv, 1, 3, T, H, K, N), _load(qkv, 2, 3, T, H, K, N)
    g = _load(grad, 0, 1, T, H, K, N)
    weights = _weights(q, k, scale, T, N)
    _store(grad_qkv, tl.dot(tl.trans(weights.to(g.dtype)), g), 2, 3, T, H, K, N)
    of_weights = tl.dot(g, tl.trans(v))
    mean = tl.sum(weights * of_weights, 1)[:, None]
    of_scores = (weights * (of_weights - mean) * scale).to(q.dtype)
    _store(grad_qkv, tl.dot(of_scores, k), 0, 3, T, H, K, N)
    _store(grad_qkv, tl.dot(tl.trans(of_scores), q), 1, 3, T, H, K, N)
