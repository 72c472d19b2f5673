"""The profile accounts for a whole step, and calls a product a product."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from ablate.bench import profile as bench
from ablate.bench.subjects import changed, ours
from ablate.cli import app
from ablate.knobs import replace
from tests.training.tiny import tiny

CPU = torch.device("cpu")
RECIPE = replace(
    tiny(),
    {"model.width": 64, "model.heads": 2, "model.layers": 2, "model.intermediate": 256, "data.length": 32},
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", bench.PRODUCTS),
        ("aten::addmm", bench.PRODUCTS),
        ("nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_NTN", bench.PRODUCTS),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16>", bench.PRODUCTS),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits>", "attention in one kernel"),
        ("aten::_softmax_backward_data", "softmax of attention"),
        ("triton_red_fused__log_softmax_nll_loss_forward_12", "cross-entropy"),
        ("graph_0_cpp_fused_add_native_layer_norm_backward_view_3", "norms"),
        ("triton_poi_fused_gelu_mul_split_5", "activations"),
        ("aten::_fused_adamw_", "clipping and update"),
        ("multi_tensor_apply_kernel<FusedAdamMathFunctor>", "clipping and update"),
        ("Memcpy DtoH (Device -> Pinned)", "between host and device"),
        ("aten::bernoulli_", "random numbers"),
        ("aten::expand", bench.OTHER),
        ("aten::embedding_dense_backward", "embedding and gathers"),
        ("aten::_to_copy", "copies and layouts"),
        ("autograd::engine::evaluate_function: MmBackward0", bench.OUTSIDE),
        ("MmBackward0", bench.OUTSIDE),
        ("## Call CompiledFxGraph fc2tsxubcb6s ##", bench.OUTSIDE),
    ],
)
def test_a_name_tells_the_kind(name: str, kind: str) -> None:
    assert bench.kind_of(name) == kind


class Products(TorchDispatchMode):
    """Counts what torch multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            self.calls[f"aten::{name}"] += 1
        return func(*args, **(kwargs or {}))


def test_every_product_of_a_step_is_counted_and_nothing_of_the_step_is_lost(tmp_path: Any) -> None:
    found = bench.profile(RECIPE, "tiny", rows=2, vocabulary=512, steps=2, trace=tmp_path / "trace.json")
    with Products() as products:
        ours(changed(RECIPE, compiled=False), 2, 512, CPU).step()
    seen = {one.name: one.calls for one in found.operations if one.name in products.calls}
    assert seen == products.calls
    assert sum(kind.seconds for kind in found.kinds) == pytest.approx(found.profiled_seconds, rel=0.02)
    of_kinds = sum(one.seconds for one in found.operations if one.kind != bench.OUTSIDE)
    assert of_kinds == pytest.approx(sum(one.seconds for one in found.kinds[:-1]))
    assert found.kinds[-1].name == bench.OUTSIDE
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


def test_the_command_shows_kinds_and_operations(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE.model_dump_json())
    arguments = ["bench", "profile", "--recipe", str(recipe), "--micro-batch", "1", "--vocabulary", "256"]
    arguments += ["--precision", "fp32"]
    arguments += ["--length", "16", "--steps", "1", "--no-compiled"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "of the step" in shown.stdout
    assert "aten::mm" in shown.stdout
    made = CliRunner().invoke(app, [*arguments, "--format", "json"])
    told = json.loads(made.stdout)
    assert told["product_share"] > 0
    assert {kind["name"] for kind in told["kinds"]} >= {bench.PRODUCTS, "norms", "clipping and update"}


@pytest.mark.slow
def test_a_compiled_step_shows_its_fused_kernels() -> None:
    found = bench.profile(RECIPE, "tiny", rows=2, vocabulary=512, steps=1, compiled=True)
    assert any("cpp_fused" in one.name and one.kind == "norms" for one in found.operations)
