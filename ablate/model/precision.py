"""The arithmetic of pretraining, from fp32 down to one bit: what it does to a model, and where it runs.

Importing this imports no torch: the knobs of training name these classes. The numbers themselves, quantisers
and products, are in `ablate.model.quantization`.

Weights keep their names and, but for bf16-pure, their fp32 values in every precision: quantised products read
them anew in every step. So a checkpoint of any arm loads into a plain model.

Fine-tuning asks what pretraining in a precision is worth, so its own arithmetic is the same for all arms but
two: bf16 autocast on plain layers with the pretrained weights, fp32 for fp32 and tf32. A second few-bit stage
would be a second factor. Ternary and binary keep their layers: without them the weights are another model.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from ablate.knobs import Config, Knob, one_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ablate.model.bert import Bert, Encoder
    from ablate.model.head import TiedDecoder
    from ablate.model.linear import Linear, Product
    from ablate.model.quantization import Quantizer
    from ablate.optim import OptimizerConfig
    from ablate.recipe import Recipe

    Multiplies = Linear | TiedDecoder

Arithmetic = contextlib.AbstractContextManager[Any]

TORCHAO = "pip install 'ablate-bert[quantization]'"
EMULATED = "train.precision {}: speed is emulated and no claim ({})"


class PrecisionError(ValueError):
    """A precision that this device or this model cannot have; the message says which, why and the way out."""


@dataclass(frozen=True)
class Support:
    """Whether a precision runs on a device, why not or how, and whether its speed is no claim."""

    ok: bool = True
    reason: str = ""
    emulated: bool = False


class Scaling:
    """Loss scaling; this one does nothing."""

    def scale(self, loss: Tensor) -> Tensor:
        """What backward starts from."""
        return loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the accumulated gradients back to their own size, before they are clipped."""

    def accepts(self, grad_norm: Tensor) -> bool:
        """Whether the step is taken: not with a gradient that overflowed."""
        return True

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a checkpoint."""


class DynamicScaling(Scaling):
    """The loss times a power of two that halves on overflow and doubles after 2000 steps without one.

    Micikevicius et al. 2018, arXiv:1710.03740. A step whose gradient overflowed is skipped; it counts as a
    step of the budget, because its work was done. Waits for the device once per optimizer step.
    """

    def __init__(self, device: str) -> None:
        import torch

        self.scaler = torch.amp.GradScaler(device)

    def scale(self, loss: Tensor) -> Tensor:
        return self.scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        self.scaler.unscale_(optimizer)

    def accepts(self, grad_norm: Tensor) -> bool:
        self.scaler.update()
        return bool(grad_norm.isfinite())

    def state_dict(self) -> dict[str, float]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.scaler.load_state_dict(state)


class _Precision(Config):
    """What every precision can do."""

    kind: str = ""
    autocast: ClassVar[str | None] = None  # the type that matrix products are cast to
    fp32_products: ClassVar[str] = "highest"
    sixteen_bits: ClassVar[bool] = (
        False  # all products have 16 bits, so it needs a device that has such units
    )
    gpu_only: ClassVar[str] = ""  # why it cannot run anywhere else, and what can
    emulated_on_cpu: ClassVar[str] = ""  # why its speed there is no claim
    finetunes_in_bf16: ClassVar[bool] = True

    def supported(self, device: str | torch.device) -> Support:
        """Whether and how it runs on a device ("cpu", "cuda:0")."""
        return Support()

    def conflicts(self, recipe: Recipe) -> list[str]:
        """What it cannot be combined with, each with the way out; for recipes that can be built."""
        return []

    def prepare(self, model: Bert, device: torch.device) -> None:
        """Make a model on its device ready for training and held-out measurement; its parameters stay the
        same objects. Also sets how the process multiplies fp32. Raises PrecisionError.
        """
        import torch

        support = self.supported(device)
        if not support.ok:
            raise PrecisionError(f"train.precision {self.kind} cannot run on {device}: {support.reason}")
        torch.set_float32_matmul_precision(self.fp32_products)

    def warnings(self, device: torch.device) -> list[str]:
        """What a record must say beside the speed measured on this device."""
        support = self.supported(device)
        return [EMULATED.format(self.kind, support.reason)] if support.emulated else []

    def arithmetic(self, device: str) -> Arithmetic:
        """Around every forward pass."""
        import torch

        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device, getattr(torch, self.autocast))

    def calls(self, model: nn.Module) -> Callable[..., Tensor]:
        """What to call for a forward pass of `model`."""
        return model.__call__

    def compiles(self, model: nn.Module) -> Callable[..., Tensor]:
        """What to compile for it."""
        return model.forward

    def scaling(self, device: str) -> Scaling:
        """Loss scaling for one run."""
        return Scaling()

    def optimizer(
        self, config: OptimizerConfig, groups: Any, lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """The optimizer that `config` asks for, over these weights."""
        return config.build(groups, lr, weight_decay)

    def for_finetuning(self, encoder: Encoder) -> Encoder:
        """The encoder that fine-tuning copies: fp32 weights, layers as the module's text says."""
        return encoder

    def few_bit(self, model: Bert) -> dict[str, Any] | None:
        """Layers whose weights count in few bits wherever the model runs, and how; None: there are none."""
        return None


class FP32(_Precision):
    """Everything in fp32."""

    kind: Literal["fp32"] = "fp32"
    finetunes_in_bf16: ClassVar[bool] = False


class TF32(_Precision):
    """fp32 whose matrix products round their operands to 10 bits of mantissa on tensor cores.

    Refused on other devices when a trial starts, because it would be fp32 under another name; a plan may be
    made anywhere.
    """

    kind: Literal["tf32"] = "tf32"
    fp32_products: ClassVar[str] = "high"
    gpu_only: ClassVar[str] = "TF32 is a mode of NVIDIA tensor cores from Ampere on; use fp32 here"
    finetunes_in_bf16: ClassVar[bool] = False

    def supported(self, device: str | torch.device) -> Support:
        return Support() if _capability(device) >= (8, 0) else Support(False, self.gpu_only)


class _Autocast(_Precision):
    """Products in bfloat16, weights and everything delicate in fp32."""

    autocast: ClassVar[str | None] = "bfloat16"

    def supported(self, device: str | torch.device) -> Support:
        return _native("bf16", (8, 0), device)


class BF16(_Autocast):
    """Autocast: products in bfloat16, weights and everything delicate in fp32."""

    kind: Literal["bf16"] = "bf16"
    sixteen_bits: ClassVar[bool] = True


class _Scaled(_Precision):
    """float16 with a dynamic loss scale."""

    sixteen_bits: ClassVar[bool] = True

    def supported(self, device: str | torch.device) -> Support:
        return _native("fp16", (5, 3), device)

    def scaling(self, device: str) -> Scaling:
        return DynamicScaling(device)


class FP16(_Scaled):
    """Autocast to float16 with a dynamic loss scale (Micikevicius et al. 2018, arXiv:1710.03740)."""

    kind: Literal["fp16"] = "fp16"
    autocast: ClassVar[str | None] = "float16"


class ScaledFP16(_Scaled):
    """All of forward and backward in float16, norms and residual stream too, with a dynamic loss scale.

    The optimizer works on fp32 weights, of which every forward pass takes a float16 copy: moments in float16
    would underflow (the square of a gradient of 1e-3, times 0.02, is below its smallest number) and divide
    by an eps of 1e-12.
    """

    kind: Literal["fp16-scaled"] = "fp16-scaled"

    def conflicts(self, recipe: Recipe) -> list[str]:
        if not recipe.model.checkpointing:
            return []
        return [
            "train.precision fp16-scaled keeps its float16 weights for the forward pass alone, and "
            "model.checkpointing computes blocks again after it; take fp16, or model.checkpointing: false"
        ]

    def calls(self, model: nn.Module) -> Callable[..., Tensor]:
        import torch

        def forward(*batch: Tensor) -> Tensor:
            tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
            halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
            return torch.func.functional_call(model, halves, batch)

        return forward

    def compiles(self, model: nn.Module) -> Callable[..., Tensor]:
        return self.calls(model)


class PureBF16(_Precision):
    """Weights, gradients and optimizer moments in bfloat16: half the memory, no fp32 copy anywhere."""

    kind: Literal["bf16-pure"] = "bf16-pure"
    sixteen_bits: ClassVar[bool] = True
    stochastic_rounding: Annotated[
        bool,
        Knob(
            "round updated weights up or down at random, so that small updates count on average",
            cost="needs AdamW, through torchao; one random number per weight and step",
        ),
    ] = False

    def supported(self, device: str | torch.device) -> Support:
        return _native("bf16", (8, 0), device)

    def conflicts(self, recipe: Recipe) -> list[str]:
        if not self.stochastic_rounding:
            return []
        told = _without_torchao("train.precision bf16-pure with stochastic_rounding")
        if recipe.train.optimizer.kind != "adamw":
            told.append(
                f"train.precision bf16-pure rounds stochastically with train.optimizer adamw alone, not"
                f" {recipe.train.optimizer.kind}; take adamw, or stochastic_rounding: false"
            )
        return told

    def prepare(self, model: Bert, device: torch.device) -> None:
        import torch

        super().prepare(model, device)
        model.to(torch.bfloat16)

    def optimizer(
        self, config: OptimizerConfig, groups: Any, lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        if not self.stochastic_rounding:
            return super().optimizer(config, groups, lr, weight_decay)
        assert config.kind == "adamw"
        return _stochastic_adamw(groups, lr, (config.beta1, config.beta2), config.eps, weight_decay)

    def for_finetuning(self, encoder: Encoder) -> Encoder:
        return copy.deepcopy(encoder).float()


# --- quantised products ------------------------------------------------------------------------------


class _Quantized(_Autocast):
    """Quantised products in some layers; everything else as bf16 autocast has it."""

    skip_first: Annotated[bool, Knob("leave the first block in bf16")] = False
    skip_last: Annotated[bool, Knob("leave the last block in bf16")] = False
    decoder: Annotated[
        bool, Knob("quantise the head too: its dense layer, if it has one, and the vocabulary product")
    ] = False

    def product(self, emulate: bool) -> Product:
        """What multiplies in the covered layers; `emulate` where the device lacks the arithmetic."""
        raise NotImplementedError

    def prepare(self, model: Bert, device: torch.device) -> None:
        super().prepare(model, device)
        product = self.product(self.supported(device).emulated)
        for part in covered(model, self.skip_first, self.skip_last, self.decoder):
            part.product = product

    def conflicts(self, recipe: Recipe) -> list[str]:
        if not any(True for _ in self._parts(recipe)):
            return [
                f"train.precision {self.kind} covers no layer: skip_first and skip_last leave none of"
                f" {recipe.model.layers}; add model.layers, skip fewer, or set train.precision.decoder: true"
            ]
        return []

    def _parts(self, recipe: Recipe) -> Iterator[Multiplies]:
        from ablate.model.size import outline

        rows = -(-getattr(recipe.data.tokenizer, "vocabulary", 32_768) // 64) * 64
        model = outline(recipe.model, rows, recipe.data.length)
        return covered(model, self.skip_first, self.skip_last, self.decoder)

    def for_finetuning(self, encoder: Encoder) -> Encoder:
        from torch.nn import functional as F

        plain = copy.deepcopy(encoder)
        for part in _products(plain):
            part.product = F.linear
        return plain


class _ByProduct(_Quantized):
    """Forward, input-gradient and weight-gradient products covered or not."""

    forward: Annotated[bool, Knob("quantise the forward product", cost="false: it stays in bf16")] = True
    grad_input: Annotated[
        bool, Knob("quantise the product that gives the gradient of the input", cost="false: in bf16")
    ] = True
    grad_weight: Annotated[
        bool, Knob("quantise the product that gives the gradient of the weight", cost="false: in bf16")
    ] = True

    def conflicts(self, recipe: Recipe) -> list[str]:
        told = super().conflicts(recipe)
        if not (self.forward or self.grad_input or self.grad_weight):
            told.append(
                f"train.precision {self.kind} covers no product; set forward, grad_input or grad_weight to"
                " true, or take train.precision bf16"
            )
        return told


class FP8(_Quantized):
    """torchao's float8 products with dynamic scales (Micikevicius et al. 2022, arXiv:2209.05433)."""

    kind: Literal["fp8"] = "fp8"
    emulated_on_cpu: ClassVar[str] = "float8 products need an NVIDIA GPU from Ada or Hopper on"
    recipe: Annotated[
        Literal["tensorwise", "rowwise", "rowwise_with_gw_hp"],
        Knob(
            "one scale per tensor; one per row; per row with the weight gradient in bf16",
            cost="tensorwise is fastest; none pays at model.width 768",
        ),
    ] = "tensorwise"

    def supported(self, device: str | torch.device) -> Support:
        if not _has_torchao():
            return Support(False, f"torchao is not installed; {TORCHAO}")
        needed = (8, 9) if self.recipe == "tensorwise" else (9, 0)
        if _capability(device) >= needed:
            return Support()
        return Support(True, self.emulated_on_cpu, emulated=True)

    def product(self, emulate: bool) -> Product:
        from ablate.model.torchao import Float8

        return Float8(self.recipe, emulate)

    def conflicts(self, recipe: Recipe) -> list[str]:
        told = _without_torchao("train.precision fp8") + super().conflicts(recipe)
        odd = sorted({size for part in self._parts(recipe) for size in _sizes(part) if size % 16})
        if odd:
            sizes = ", ".join(map(str, odd))
            told.append(
                f"train.precision fp8 needs layers whose sizes are multiples of 16, not {sizes}; change"
                " model.width and model.intermediate, or take train.precision bf16"
            )
        train = recipe.train
        if train.micro_batch is None:
            told.append(
                "train.precision fp8 needs a multiple of 16 rows, and train.micro_batch is left to the"
                " device; set it"
            )
        micro = min(train.micro_batch or train.batch, train.batch)
        predicted = micro * round(train.mask_rate * recipe.data.length)
        rows = {"tokens": micro * recipe.data.length} | (
            {"predicted tokens": predicted} if self.decoder else {}
        )
        told += [
            f"train.precision fp8 needs a multiple of 16 {what} in a micro-batch, not {count}; make"
            " train.micro_batch a multiple of 16"
            for what, count in rows.items()
            if count % 16
        ]
        return told


class Int8(_ByProduct):
    """torchao's int8 mixed-precision training: integer products where the device has them."""

    kind: Literal["int8"] = "int8"

    def supported(self, device: str | torch.device) -> Support:
        if not _has_torchao():
            return Support(False, f"torchao is not installed; {TORCHAO}")
        if _type(device) == "cuda" and _capability(device) < (7, 5):
            return Support(False, "int8 products need an NVIDIA GPU from Turing on; use int8-emulated here")
        from torch.utils._triton import has_triton

        if _type(device) == "cpu" and has_triton():
            return Support(
                False, "where Triton has a GPU, torchao's int8 products run on it alone; use int8-emulated"
            )
        return Support()

    def product(self, emulate: bool) -> Product:
        from ablate.model.torchao import Int8 as Torchao

        return Torchao(self.forward, self.grad_input, self.grad_weight)

    def conflicts(self, recipe: Recipe) -> list[str]:
        return _without_torchao("train.precision int8") + super().conflicts(recipe)


class _Emulated(_Quantized):
    """Numerics alone: the products cost more than in bf16 on every device."""

    def cautions(self, recipe: Recipe) -> list[str]:
        return [
            f"train.precision {self.kind} is emulated on every device, few-bit operands multiplied in fp32: "
            "its speed is no claim; compare it at equal tokens or steps"
        ]

    def supported(self, device: str | torch.device) -> Support:
        return Support(True, "few-bit operands are multiplied in fp32", emulated=True)


class EmulatedInt8(_Emulated, _ByProduct):
    """Eight bits per operand with a scale per row, as in AQT; values are rounded to nearest."""

    kind: Literal["int8-emulated"] = "int8-emulated"
    rounding: Annotated[
        Literal["stochastic", "nearest"],
        Knob("how gradients are rounded", cost="stochastic: a random number per gradient entry"),
    ] = "stochastic"

    def product(self, emulate: bool) -> Product:
        from ablate.model import quantization as q

        gradients = q.Stochastic(127) if self.rounding == "stochastic" else q.Nearest(127)
        return q.Quantized(
            q.Nearest(127), gradients, gradients, self.forward, self.grad_input, self.grad_weight
        )


class LuqGradients(Config):
    """Zero and seven powers of two of either sign, unbiased."""

    kind: Literal["luq"] = "luq"
    samples: Annotated[
        int,
        Knob("draws that are averaged for the weight gradient", 1, 16, log=True,
             cost="one more random number per gradient entry each"),
    ] = 1  # fmt: skip

    def quantizer(self, samples: int) -> Quantizer:
        """The mean of so many draws."""
        from ablate.model.quantization import Luq

        return Luq(samples)


class EvenGradients(Config):
    """15 even levels, scaled by each row's largest magnitude."""

    kind: Literal["even"] = "even"
    samples: ClassVar[int] = 1
    rounding: Annotated[
        Literal["stochastic", "nearest"], Knob("stochastic is unbiased, nearest has less noise")
    ] = "stochastic"

    def quantizer(self, samples: int) -> Quantizer:
        """The one draw there is."""
        from ablate.model.quantization import Nearest, Stochastic

        return Stochastic(7) if self.rounding == "stochastic" else Nearest(7)


class Int4(_Emulated, _ByProduct):
    """Four bits per operand: values to nearest, gradients on a logarithmic grid (Chmiel et al. 2023, LUQ,
    arXiv:2112.10769). Values are scaled by each row's largest magnitude, not by the paper's fitted clipping.
    """

    kind: Literal["int4"] = "int4"
    gradients: Annotated[
        Annotated[LuqGradients | EvenGradients, one_of], Knob("the grid that gradients are rounded to")
    ] = LuqGradients()

    def product(self, emulate: bool) -> Product:
        from ablate.model import quantization as q

        once, averaged = self.gradients.quantizer(1), self.gradients.quantizer(self.gradients.samples)
        return q.Quantized(q.Nearest(7), once, averaged, self.forward, self.grad_input, self.grad_weight)

    def conflicts(self, recipe: Recipe) -> list[str]:
        told = super().conflicts(recipe)
        if self.gradients.samples > 1 and not self.grad_weight:
            told.append(
                f"train.precision.gradients.samples ({self.gradients.samples}) averages the weight gradient,"
                " which train.precision.grad_weight: false leaves in bf16; set it to true, or samples to 1"
            )
        return told


class _BitNet(_Emulated):
    """Weights of few levels, activations of eight bits, gradients straight through."""

    norm: Annotated[
        bool,
        Knob("divide each layer's input by its root mean square first, as the authors' own layer does"),
    ] = True

    def for_finetuning(self, encoder: Encoder) -> Encoder:
        return encoder

    def few_bit(self, model: Bert) -> dict[str, Any] | None:
        parts = {id(part) for part in covered(model, self.skip_first, self.skip_last, self.decoder)}
        layers = [name for name, part in model.named_modules() if id(part) in parts]
        return {"weights": self.kind, "norm": self.norm, "layers": layers}


class Ternary(_BitNet):
    """Weights of -1, 0 and 1 times their mean magnitude: BitNet b1.58 (Ma et al. 2024, arXiv:2402.17764)."""

    kind: Literal["ternary"] = "ternary"

    def product(self, emulate: bool) -> Product:
        from ablate.model import quantization as q

        return q.FewBitWeights(q.ternary, self.norm)


class Binary(_BitNet):
    """Weights of -1 and 1 times their mean magnitude: BitNet (Wang et al. 2023, arXiv:2310.11453)."""

    kind: Literal["binary"] = "binary"

    def product(self, emulate: bool) -> Product:
        from ablate.model import quantization as q

        return q.FewBitWeights(q.binary, self.norm)


PrecisionConfig = Annotated[
    FP32 | TF32 | BF16 | FP16 | ScaledFP16 | PureBF16 | FP8 | Int8 | EmulatedInt8 | Int4 | Ternary | Binary,
    one_of,
]
PRECISIONS: tuple[type[_Precision], ...] = (
    FP32, TF32, BF16, FP16, ScaledFP16, PureBF16, FP8, Int8, EmulatedInt8, Int4, Ternary, Binary,
)  # fmt: skip


def covered(model: Bert, skip_first: bool, skip_last: bool, decoder: bool) -> Iterator[Multiplies]:
    """The layers whose product is quantised: those of all blocks but the skipped ones, and the head's."""
    from ablate.model.bert import Block

    blocks = [part for part in model.modules() if isinstance(part, Block)]
    for block in blocks[skip_first : len(blocks) - skip_last]:
        yield from _products(block)
    if decoder:
        yield from _products(model.transform)
        yield from _products(model.decoder)


def _products(module: nn.Module) -> Iterator[Multiplies]:
    from ablate.model.head import TiedDecoder
    from ablate.model.linear import Linear

    return (part for part in module.modules() if isinstance(part, (Linear, TiedDecoder)))


def _sizes(part: Multiplies) -> tuple[int, int]:
    from ablate.model.linear import Linear

    if isinstance(part, Linear):
        return part.in_features, part.out_features
    return part.width, part.vocabulary


# --- devices and packages ----------------------------------------------------------------------------


def _type(device: str | torch.device) -> str:
    return str(device).split(":")[0]


def _capability(device: str | torch.device) -> tuple[int, int]:
    """Of an NVIDIA GPU; (0, 0) for anything else."""
    import torch

    if _type(device) != "cuda" or torch.version.hip is not None:
        return (0, 0)
    return torch.cuda.get_device_capability(device)


def _native(
    name: Literal["bf16", "fp16"], capability: tuple[int, int], device: str | torch.device
) -> Support:
    """Support of a 16-bit type that every device computes somehow."""
    import torch

    if _type(device) == "cpu":
        known = getattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported")()
        return Support() if known else Support(True, f"this CPU has no {name} arithmetic", emulated=True)
    if _type(device) == "cuda" and torch.version.hip is None and _capability(device) < capability:
        return Support(True, f"this GPU has no {name} arithmetic", emulated=True)
    return Support()


def _has_torchao() -> bool:
    return importlib.util.find_spec("torchao") is not None


def _without_torchao(what: str) -> list[str]:
    return [] if _has_torchao() else [f"{what} needs torchao, which is not installed: {TORCHAO}"]


def _stochastic_adamw(
    groups: Any, lr: float, betas: tuple[float, float], eps: float, weight_decay: float
) -> torch.optim.Optimizer:
    """torchao's AdamW that rounds bfloat16 weights stochastically, its step uncompiled.

    Compiling takes seconds per weight shape, and the first step would have it charged to the training clock.
    """
    import torch
    from torchao.optim import _AdamW

    class StochasticAdamW(_AdamW):  # type: ignore[misc]
        def step(self, closure: Callable[[], Any] | None = None) -> Any:
            with torch.compiler.set_stance("force_eager"):
                return super().step(closure)

    return StochasticAdamW(
        groups, lr, betas=betas, eps=eps, weight_decay=weight_decay, bf16_stochastic_round=True
    )
