"""`ablate bench profile`: where the time of a training step goes, by operation and by kind of work.

What torch's profiler sees, on its clock, the wall: on a GPU its kernels, on a CPU the operations, and of a
compiled step its fused kernels. What is left is outside of them: Python and launches, on a GPU its idle time.
"""

from __future__ import annotations

import contextlib
import re
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity

from ablate.bench import measure
from ablate.bench.run import Run, circumstances, place
from ablate.bench.show import printed, threads
from ablate.bench.subjects import Subject, changed, ours, size_of
from ablate.bench.training import CONVENTION, dtype_of, require_possible
from ablate.recipe import Recipe

PRODUCTS, OUTSIDE, OTHER = "products", "outside of operations", "other operations"
# A kernel that fuses several counts as the first of these that its name has.
KINDS: dict[str, str] = {
    # Frames around operations, and the Python in them.
    OUTSIDE: r"^(## |Torch-Compiled|TorchDynamo|autograd::|AOT|Optimizer\.|CompiledFunction)|Backward\d*$",
    "between host and device": r"Memcpy|Memset|_local_scalar_dense|aten::item",
    "attention in one kernel": r"flash|fmha|efficient_attention|scaled_dot_product",
    PRODUCTS: r"aten::(mm|addmm|bmm|baddbmm|matmul|linear|_?scaled_mm|_int_mm)$|gemm|nvjet|cutlass|mkldnn",
    "clipping and update": r"adam|foreach|multi_tensor|linalg_vector_norm|lerp",
    # What it and GELU compile to on a CPU has names of its own: the last of either line.
    "cross-entropy": r"nll_loss|log_softmax|cross_entropy|logsumexp|arange_(div_)?eq_exp",
    "softmax of attention": r"softmax",
    "activations": r"gelu|silu|sigmoid|tanh|relu|abs_add_exp",
    "norms": r"layer_?norm|rms_?norm|rsqrt",
    "random numbers": r"bernoulli|dropout|philox|\brand|random|distribution",
    "embedding and gathers": r"embedding|index|gather|scatter",
    "copies and layouts": r"copy|clone|cat|stack|transpose|permute|view|stride|fill|zero|empty|slice|::t$",
}


@dataclass(frozen=True)
class Work:
    """An operation, or all of a kind, in one step."""

    name: str
    kind: str
    seconds: float
    calls: float


@dataclass(frozen=True, kw_only=True)
class Profile(Run):
    """Means over the profiled steps."""

    recipe: str
    compiled: bool
    micro_batch: int  # rows
    length: int
    vocabulary: int
    steps: int
    tokens: int  # of a step
    step_seconds: float  # not profiled: the median of as many steps
    profiled_seconds: float  # the profiler's own cost included
    model_flops: float  # of a step
    product_flops_per_second: float  # of the device, measured in this run
    convention: str
    kinds: list[Work]  # by seconds; together the profiled step
    operations: list[Work]  # by seconds

    @property
    def product_share(self) -> float:
        """FLOP/s while products are computed, over the device's own; above 1 where kernels fuse them."""
        seconds = next((kind.seconds for kind in self.kinds if kind.name == PRODUCTS), 0.0)
        return self.model_flops / seconds / self.product_flops_per_second if seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "product_share": self.product_share}


def kind_of(name: str) -> str:
    """The kind of work that an operation or a kernel does, by its name."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), OTHER)


def profile(
    recipe: Recipe,
    name: str,
    *,
    device: str | None = None,
    rows: int | None = None,
    vocabulary: int | None = None,
    threads: int | None = 1,
    steps: int = 5,
    precision: str | None = None,
    compiled: bool | None = None,
    trace: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Profile:
    """Profile a recipe's steps; `trace`: a file for Perfetto or chrome://tracing. Raises BenchError."""
    where = place(device, threads)
    recipe = changed(recipe, precision=precision, compiled=compiled)
    require_possible(recipe, where)
    size, words = size_of(recipe, rows, vocabulary)
    with _kernels_named(where):
        subject = ours(recipe, size, words, where)
        tell(f"first step of {subject.name}")
        measure.first_step(subject)
        measure.first_step(subject)  # optimizers make their state in the first
        tell("steps as they are")
        plain = [measure.timed(lambda: measure.run(subject, 1), 1) for _ in range(steps)]
        tell("steps under the profiler")
        work, seconds = _profiled(subject, where, steps, trace)
    return Profile(
        recipe=name, compiled=recipe.train.compile, micro_batch=size, length=recipe.data.length,
        vocabulary=words, steps=steps, tokens=subject.tokens,
        step_seconds=statistics.median(wall for wall, _ in plain),
        profiled_seconds=seconds, model_flops=subject.tokens * subject.flops_per_token,
        product_flops_per_second=measure.product_rate(dtype_of(recipe), where, "wall"),
        convention=CONVENTION, kinds=_by_kind(work, seconds), operations=_sorted(work),
        **circumstances(where, "wall", recipe.train.precision.kind),
    )  # fmt: skip


def _kernels_named(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """On a CPU the compiler names its kernels to the profiler only when it is asked to."""
    if device.type != "cpu":
        return contextlib.nullcontext()
    import torch._inductor.config as inductor

    patched: contextlib.AbstractContextManager[object] = inductor.patch({"cpp.enable_kernel_profile": True})
    return patched


def _profiled(
    subject: Subject, device: torch.device, steps: int, trace: Path | None
) -> tuple[list[Work], float]:
    """Operations, and seconds of a step."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
        seconds, _ = measure.timed(lambda: measure.run(subject, steps), 1)
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    found = []
    for event in profiler.key_averages():
        # Beside kernels a GPU's timeline has the frames that the host names.
        if event.device_type != (DeviceType.CUDA if on_gpu else DeviceType.CPU) or event.is_user_annotation:
            continue
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        found.append(Work(event.key, kind_of(event.key), spent / 1e6 / steps, event.count / steps))
    return found, seconds / steps


def _by_kind(work: Iterable[Work], seconds: float) -> list[Work]:
    """All kinds that there are; what the step takes beyond them is outside of operations."""
    sums: dict[str, tuple[float, float]] = {}
    for one in work:
        if one.kind != OUTSIDE:
            spent, calls = sums.get(one.kind, (0.0, 0.0))
            sums[one.kind] = (spent + one.seconds, calls + one.calls)
    inside = sum(spent for spent, _ in sums.values())
    kinds = [Work(kind, kind, spent, calls) for kind, (spent, calls) in sums.items()]
    return [*_sorted(kinds), Work(OUTSIDE, OUTSIDE, max(0.0, seconds - inside), 0.0)]


def _sorted(work: Iterable[Work]) -> list[Work]:
    return sorted(work, key=lambda one: -one.seconds)


# --- for people --------------------------------------------------------------------------------------


def terminal(found: Profile, top: int) -> RenderableType:
    """Both tables, and what they are of."""
    seconds = found.profiled_seconds

    def row(one: Work, name: str) -> tuple[str, ...]:
        spent = f"{one.seconds * 1e3:,.2f}"
        each = f"{one.seconds / found.tokens * 1e9:,.0f}"
        return name, spent, f"{one.seconds / seconds:.1%}", each, f"{one.calls:,.0f}" if one.calls else ""

    heads = ("ms", "of the step", "ns a token", "calls")
    kinds = printed(("kind of work", *heads), [row(one, one.name) for one in found.kinds])
    operations = printed(
        ("operation", *heads, "kind"),
        [
            (*row(one, one.name[:70]), one.kind)
            for one in [one for one in found.operations if one.kind != OUTSIDE][:top]
        ],
    )
    facts = [
        f"{found.recipe}, {found.precision}, {'compiled' if found.compiled else 'eager'}, micro-batch "
        f"{found.micro_batch} × {found.length}, vocabulary {found.vocabulary}; {found.device}, "
        f"{threads(found.threads)}, load {found.load[0]:g}; wall seconds, mean of {found.steps} steps.",
        f"A step takes {found.step_seconds * 1e3:,.1f} ms, and {seconds * 1e3:,.1f} ms under the profiler.",
        f"While it multiplies, {found.product_share:.0%} of the product measured in the same run "
        f"({found.product_flops_per_second / 1e12:.3f} TFLOP/s).",
        found.convention[0].upper() + found.convention[1:] + ".",
    ]
    return Group(kinds, "", operations, "", *(Text(fact, style="dim") for fact in facts))
