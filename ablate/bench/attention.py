"""`ablate bench attention`: what one layer's attention costs, forward and backward, by backend and length.

Every backend starts from queries, keys and values as the projection leaves them, packed, and ends with the
gradient that the projection reads, so what a backend makes others copy is in its time. All lengths have the
same number of tokens. Shapes: B batch, T position, H head, K head width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ablate.bench import measure, short_rows
from ablate.bench.errors import BenchError
from ablate.bench.run import Run, circumstances, clock_of, place
from ablate.bench.show import printed
from ablate.bench.subjects import synchronizer
from ablate.bench.training import dtype_of
from ablate.model.attention import attend, explicit
from ablate.recipe import Recipe

OURS = "the model's"
LENGTHS = (64, 128, 256, 512)
VISIT = 0.1  # seconds that a backend is timed at a time; calls of a tenth of a millisecond need many


@dataclass(frozen=True)
class Cost:
    """Of one backend at one length under one bias; seconds of one layer, forward and backward."""

    length: int
    rows: int
    bias: str
    backend: str
    seconds: float  # median over rounds
    spread: float
    flops_per_second: float  # model FLOPs of scores and weighted values
    error: float  # of result and gradient against fp64, the larger, relative


@dataclass(frozen=True, kw_only=True)
class Report(Run):
    """One run of the bench."""

    heads: int
    head_width: int
    tokens: int
    rounds: int
    costs: list[Cost]
    without: list[str]  # backends that cannot do it, and why

    def slowest(self) -> float:
        """The model's own seconds over the fastest backend's, where that ratio is largest."""
        worst = 1.0
        for group in _groups(self.costs):
            own = next(cost.seconds for cost in group if cost.backend == OURS)
            worst = max(worst, own / min(cost.seconds for cost in group))
        return worst

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "slowest": self.slowest()}


# --- backends and biases -----------------------------------------------------------------------------

Attention = Callable[[Tensor, Tensor | None], Tensor]  # qkv [B, T, 3, H, K] and a bias → [B, H, T, K]


def of_the_model(qkv_BT3HK: Tensor, bias: Tensor | None) -> Tensor:
    """What a recipe's softmax attention takes on this device."""
    return attend(*_apart(qkv_BT3HK), bias, 0.0)


def in_parts(qkv_BT3HK: Tensor, bias: Tensor | None) -> Tensor:
    """Two products and a softmax."""
    return explicit(*_apart(qkv_BT3HK), bias, 0.0)


def fused(backend: SDPBackend) -> Attention:
    """One of PyTorch's own; RuntimeError where it cannot."""

    def call(qkv_BT3HK: Tensor, bias: Tensor | None) -> Tensor:
        with sdpa_kernel(backend), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # why a backend cannot is told once, by the error
            return F.scaled_dot_product_attention(*_apart(qkv_BT3HK), attn_mask=bias)

    return call


def in_one_kernel(qkv_BT3HK: Tensor, bias: Tensor | None) -> Tensor:
    """`ablate.bench.short_rows`; RuntimeError where it cannot."""
    if bias is not None or not short_rows.fits(qkv_BT3HK):
        raise RuntimeError(
            f"it takes rows of at most {short_rows.LONGEST} tokens in 16 bits without a bias, and needs an "
            "NVIDIA GPU with Triton"
        )
    return short_rows.attention(qkv_BT3HK).transpose(1, 2)


def _apart(qkv_BT3HK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [B, H, T, K]."""
    q_BHTK, k_BHTK, v_BHTK = qkv_BT3HK.permute(2, 0, 3, 1, 4).unbind()
    return q_BHTK, k_BHTK, v_BHTK


BACKENDS: dict[str, Attention] = {
    OURS: of_the_model,
    "explicit": in_parts,
    "flash": fused(SDPBackend.FLASH_ATTENTION),
    "cudnn": fused(SDPBackend.CUDNN_ATTENTION),
    "memory-efficient": fused(SDPBackend.EFFICIENT_ATTENTION),
    "one kernel": in_one_kernel,
}


def biases(rows: int, length: int, heads: int, like: Tensor) -> dict[str, Tensor | None]:
    """As recipes have them: none; ALiBi's, a constant; T5's, learned; padding of fine-tuning batches."""
    generator = torch.Generator().manual_seed(1)
    constant = torch.randn(1, heads, length, length, generator=generator).to(like)
    kept = torch.randint(length // 2, length + 1, (rows, 1, 1, 1), generator=generator)
    padding = torch.where(torch.arange(length) < kept, 0.0, -1e4).to(like)
    return {
        "none": None, "constant": constant, "learned": constant.clone().requires_grad_(), "padding": padding
    }  # fmt: skip


# --- measuring ---------------------------------------------------------------------------------------


def bench(
    recipe: Recipe,
    *,
    device: str | None = None,
    threads: int | None = 1,
    lengths: Sequence[int] = LENGTHS,
    rows: int = 32,
    rounds: int = 5,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Heads and precision of `recipe`; `rows` of the first length, and at others as many tokens.

    Raises BenchError.
    """
    where = place(device, threads)
    clock, tokens, model = clock_of(where), rows * lengths[0], recipe.model
    if tokens < max(lengths):
        raise BenchError(
            f"all lengths have as many tokens, and {rows} rows of {lengths[0]} are too few for one of "
            f"{max(lengths)}; give more rows (--micro-batch)"
        )
    costs: list[Cost] = []
    without: list[str] = []
    for length in lengths:
        tell(f"rows of {length}")
        generator = torch.Generator().manual_seed(0)
        shape = (tokens // length, length, 3, model.heads, model.head_width)
        qkv = torch.randn(shape, generator=generator).to(where, dtype_of(recipe)).requires_grad_()
        upward = torch.randn(shape[0], length, *shape[3:], generator=generator).to(qkv)
        for name, bias in biases(shape[0], length, model.heads, qkv.detach()).items():
            found, missing = _compared(qkv, upward, bias, rounds, clock)
            for backend, (seconds, error) in found.items():
                middle = median(seconds)
                costs.append(
                    Cost(
                        length,
                        shape[0],
                        name,
                        backend,
                        middle,
                        measure.spread(seconds),
                        _flops(qkv) / middle,
                        error,
                    )  # fmt: skip
                )
            without += [
                f"{backend}, rows of {length}, bias {name}: {why}" for backend, why in missing.items()
            ]
    return Report(
        heads=model.heads, head_width=model.head_width, tokens=tokens, rounds=rounds, costs=costs,
        without=without, **circumstances(where, clock, recipe.train.precision.kind),
    )  # fmt: skip


def _flops(qkv_BT3HK: Tensor) -> float:
    """Forward and backward, as everywhere: two products, backward twice the forward."""
    B, T, _, H, K = qkv_BT3HK.shape
    return 3 * 2 * 2 * B * H * T * T * K


def _compared(
    qkv: Tensor, upward: Tensor, bias: Tensor | None, rounds: int, clock: str
) -> tuple[dict[str, tuple[list[float], float]], dict[str, str]]:
    """Seconds of each round and the error, by backend; and why others cannot."""
    runs: dict[str, Callable[[], None]] = {}
    errors: dict[str, float] = {}
    missing: dict[str, str] = {}
    exact = _result(in_parts, qkv.detach()[:4].double(), upward[:4].double(), _first(bias))
    for name, call in BACKENDS.items():
        try:
            errors[name] = _error(_result(call, qkv.detach()[:4], upward[:4], _first(bias, qkv.dtype)), exact)
            runs[name] = lambda call=call: _once(call, qkv, upward, bias)  # type: ignore[misc]
            runs[name]()
        except (RuntimeError, NotImplementedError) as error:  # this device or this bias it cannot have
            missing[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
            runs.pop(name, None)
    wait = synchronizer(qkv.device)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    times = {name: _times(run, wait) for name, run in runs.items()}
    for turn in range(rounds):
        for name in list(runs)[:: 1 if turn % 2 == 0 else -1]:
            wall, cpu = measure.timed(lambda name=name: _repeat(runs[name], times[name], wait), 1)  # type: ignore[misc]
            seconds[name].append((cpu if clock == "cpu" else wall) / times[name])
    return {name: (values, errors[name]) for name, values in seconds.items()}, missing


def _first(bias: Tensor | None, dtype: torch.dtype = torch.float64) -> Tensor | None:
    """Of the first rows; a bias that all share stays whole."""
    return None if bias is None else bias.detach()[:4].to(dtype).requires_grad_(bias.requires_grad)


def _once(call: Attention, qkv: Tensor, upward_BTHK: Tensor, bias: Tensor | None) -> None:
    call(qkv, bias).transpose(1, 2).backward(upward_BTHK)
    qkv.grad = None
    if bias is not None:
        bias.grad = None


def _result(call: Attention, qkv: Tensor, upward_BTHK: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """What attention gives, and the gradient of its packed operands."""
    qkv = qkv.clone().requires_grad_()
    out_BTHK = call(qkv, bias).transpose(1, 2)
    out_BTHK.backward(upward_BTHK)
    assert qkv.grad is not None
    return out_BTHK.detach(), qkv.grad


def _error(found: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """The larger of the relative distances."""
    return max(
        float((mine.double() - true).norm() / true.norm()) for mine, true in zip(found, exact, strict=True)
    )


def _repeat(run: Callable[[], None], times: int, wait: Callable[[], None]) -> None:
    for _ in range(times):
        run()
    wait()


def _times(run: Callable[[], None], wait: Callable[[], None]) -> int:
    """How often fits a visit, after a first call that loads kernels."""
    _repeat(run, 1, wait)
    wall, _ = measure.timed(lambda: _repeat(run, 3, wait), 1)
    return max(1, round(VISIT / (wall / 3)))


# --- for people --------------------------------------------------------------------------------------


def _groups(costs: Iterable[Cost]) -> list[list[Cost]]:
    """Costs of one length and bias together."""
    found: dict[tuple[int, str], list[Cost]] = {}
    for cost in costs:
        found.setdefault((cost.length, cost.bias), []).append(cost)
    return list(found.values())


def terminal(report: Report) -> RenderableType:
    """Milliseconds by length and bias, a column a backend; the fastest marked."""
    names = [name for name in BACKENDS if any(cost.backend == name for cost in report.costs)]
    rows = []
    for group in _groups(report.costs):
        best = min(cost.seconds for cost in group)
        by_name = {cost.backend: cost for cost in group}
        told = [
            "–" if name not in by_name
            else f"{by_name[name].seconds * 1e3:,.3f}{' *' if by_name[name].seconds == best else '  '}"
            for name in names
        ]  # fmt: skip
        rows.append((f"{group[0].rows} × {group[0].length}", group[0].bias, *told))
    clock = "CPU time" if report.clock == "cpu" else "time"
    worst = max(cost.error for cost in report.costs)
    facts = [
        f"ms of {clock} of one layer, forward and backward, {report.heads} heads of {report.head_width}, "
        f"{report.precision}, {report.device}; medians of {report.rounds} rounds in turns, load "
        f"{report.load[0]:g}; * the fastest.",
        f"The model's choice takes at most {report.slowest():.2f} times the fastest. Largest error against "
        f"fp64: {worst:.1e}.",
        *(f"Not here: {line}" for line in _shortened(report.without)),
    ]
    return Group(printed(("rows", "bias", *names), rows), "", *(Text(fact, style="dim") for fact in facts))


def _shortened(without: Iterable[str]) -> list[str]:
    """One line a backend and reason, whatever lengths and biases it is about."""
    found: dict[tuple[str, str], int] = {}
    for line in without:
        where, _, why = line.partition(": ")
        key = where.split(",")[0], why
        found[key] = found.get(key, 0) + 1
    return [f"{name} ({count} of the rows): {why}" for (name, why), count in found.items()]
