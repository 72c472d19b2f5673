"""What is timed: one training step of a recipe, and of transformers' encoders of the same size.

All subjects see the same random tokens and predict the same positions, in the same precision, with the same
optimizer and the same clipping. Shapes: B batch, T position, N predicted positions.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ablate.bench.errors import BenchError
from ablate.knobs import replace
from ablate.recipe import Recipe

if TYPE_CHECKING:
    from ablate.training.step import MicroBatch


@dataclass
class Subject:
    """One training step that can be run again and again, and what it computes."""

    name: str
    loss: Callable[[], Tensor]  # forward pass
    backward: Callable[[Tensor], None]  # add the loss's gradient to the weights'
    update: Callable[[], None]  # clip and update
    model: nn.Module
    tokens: int  # per step
    flops_per_token: float  # of the model: head and decoder at predicted positions only, nothing recomputed
    synchronize: Callable[[], None] = lambda: None

    def step(self) -> None:
        """Forward, backward, clip, update."""
        self.backward(self.loss())
        self.update()

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def size_of(recipe: Recipe, rows: int | None = None, vocabulary: int | None = None) -> tuple[int, int]:
    """Rows of a micro-batch, and tokens in the vocabulary: what the bench is told, else the recipe's."""
    rows = rows or recipe.train.micro_batch or max(1, 8192 // recipe.data.length)
    return rows, vocabulary or int(getattr(recipe.data.tokenizer, "vocabulary", 0) or 32768)


def tokens_to_learn(recipe: Recipe, rows: int, vocabulary: int, device: torch.device) -> MicroBatch:
    """Random ids [B, T], flat predicted positions [N] and labels [N]: speed does not depend on the text."""
    length = recipe.data.length
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(5, vocabulary, (rows, length), generator=generator)
    each = max(1, round(recipe.train.mask_rate * length))
    columns_BK = torch.rand(rows, length, generator=generator).argsort(1)[:, :each].sort(1).values
    positions_N = (columns_BK + length * torch.arange(rows)[:, None]).flatten()
    labels_N = ids_BT.flatten()[positions_N]
    return ids_BT.to(device), positions_N.to(device), labels_N.to(device)


def ours(
    recipe: Recipe, rows: int, vocabulary: int, device: torch.device, *, progress: float = 1.0
) -> Subject:
    """The recipe's step as its trials take it, on rows as long as a curriculum has them at `progress` of the
    budget.
    """
    from ablate.training.initial import build
    from ablate.training.objective import flops_per_token
    from ablate.training.step import Forward, Step

    train, length = recipe.train, recipe.data.length
    model = build(recipe, seed=0, vocabulary=vocabulary).to(device)
    train.precision.prepare(model, device)
    forward = Forward(train, model)
    if train.compile:
        forward.compile()
    step = Step(forward)
    step.begin(1, rows)
    batch = tokens_to_learn(recipe, rows, vocabulary, device)
    if train.length_curriculum is not None:
        length = train.length_curriculum.length(length, progress)
        batch = train.length_curriculum.cut(batch, length)
    # As if every step were one that takes a snapshot, of which a trial has a hundred.
    every = getattr(train.averaging, "every", 0.0)
    snapshots = itertools.count(every, every)

    def backward(loss: Tensor) -> None:
        step.backward(loss)
        step.second_pass()  # not in the update, because there is one for every micro-batch

    def update() -> None:
        step.update()
        if step.average is not None:
            step.average.update(step.parameters, next(snapshots))

    return Subject(
        f"ablate, {'compiled' if train.compile else 'eager'}",
        lambda: step.loss(batch),
        backward,
        update,
        model,
        batch[0].numel(),
        flops_per_token(recipe, vocabulary, length),
        synchronizer(device),
    )


def synchronizer(device: torch.device) -> Callable[[], None]:
    """Waits for what was asked of the device."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


# --- peers -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """An encoder of transformers with the flags that could be its best."""

    name: str  # bert, modernbert
    attention: str  # attn_implementation
    compiled: bool

    @property
    def title(self) -> str:
        how = "compiled" if self.compiled else "eager"
        return f"{self.name}, {self.attention} attention, {how}"


def peers(device: str) -> list[Peer]:
    """Every combination of flags that the libraries offer for a device; the fastest of each name counts."""
    attentions = ["sdpa", "eager"] if device == "cpu" else ["sdpa"]
    return [Peer(name, a, c) for name in ("bert", "modernbert") for a in attentions for c in (True, False)]


def peer(which: Peer, recipe: Recipe, rows: int, vocabulary: int, device: torch.device) -> Subject:
    """`which` at the recipe's depth, width, heads and vocabulary, its feed-forward as wide as brings it
    nearest to the recipe's parameters. Raises BenchError where transformers is missing.
    """
    try:
        import transformers
    except ImportError as error:
        raise BenchError(
            "the peers need transformers, which is not installed; pip install 'ablate-bert[export]', or "
            "leave out --peers"
        ) from error
    model = _built(transformers, which, recipe, vocabulary).to(device)
    ids_BT, positions_N, labels_N = tokens_to_learn(recipe, rows, vocabulary, device)
    targets_BT = torch.full_like(ids_BT, -100).flatten().index_copy(0, positions_N, labels_N).view_as(ids_BT)
    call: Any = torch.compile(model, dynamic=False) if which.compiled else model

    def loss() -> Tensor:
        with _autocast(recipe, device):
            return call(input_ids=ids_BT, labels=targets_BT).loss

    train = recipe.train
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=train.weight_decay, fused=True)
    clip = float("inf") if train.clip is None else train.clip

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return Subject(
        f"transformers {which.title}",
        loss,
        Tensor.backward,
        update,
        model.train(),
        rows * recipe.data.length,
        peer_flops_per_token(model, recipe),
        synchronizer(device),
    )


def _built(transformers: Any, which: Peer, recipe: Recipe, vocabulary: int) -> nn.Module:
    wanted = _parameters(recipe, vocabulary)

    def make(intermediate: int, device: str) -> nn.Module:
        model = recipe.model
        common = {
            "vocab_size": vocabulary, "hidden_size": model.width, "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads, "intermediate_size": intermediate,
            "max_position_embeddings": max(512, recipe.data.length), "attn_implementation": which.attention,
            "pad_token_id": 0,
        }  # fmt: skip
        with torch.device(device):
            if which.name == "bert":
                config = transformers.BertConfig(
                    **common, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
                )
                return transformers.BertForMaskedLM(config)
            config = transformers.ModernBertConfig(
                **common, sparse_prediction=True, global_attn_every_n_layers=1, cls_token_id=2,
                sep_token_id=3,
                bos_token_id=2, eos_token_id=3,
            )  # fmt: skip
            return transformers.ModernBertForMaskedLM(config)

    # Parameters grow in a straight line with the width of the feed-forward.
    low, high = (sum(p.numel() for p in make(size, "meta").parameters()) for size in (64, 128))
    fitting = 64 + (wanted - low) / ((high - low) / 64)
    return make(max(64, 64 * round(fitting / 64)), "cpu")


def _parameters(recipe: Recipe, vocabulary: int) -> int:
    from ablate.model.size import parameters

    return parameters(recipe.model, vocabulary=vocabulary, length=recipe.data.length)


def _autocast(recipe: Recipe, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Peers know fp32 and autocast; any other precision of the recipe is compared with their bf16."""
    if recipe.train.precision.kind in ("fp32", "tf32"):
        return contextlib.nullcontext()
    dtype = torch.float16 if recipe.train.precision.kind == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype)


def peer_flops_per_token(model: nn.Module, recipe: Recipe) -> float:
    """As ours are counted: products of the encoder at every token, of head and decoder at predicted ones,
    forward and backward; and the scores.
    """
    base = model.base_model
    assert isinstance(base, nn.Module)
    inner = sum(m.weight.numel() for m in base.modules() if isinstance(m, nn.Linear))
    outer = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear)) - inner
    scores = 2 * recipe.model.layers * recipe.data.length * recipe.model.width
    return 6 * (inner + scores + recipe.train.mask_rate * outer)


def changed(
    recipe: Recipe, *, compiled: bool | None = None, precision: str | None = None, length: int | None = None,
    source: str | None = None,
) -> Recipe:  # fmt: skip
    """The recipe with the bench's own switches; `source` is a glob of text files."""
    files = None if source is None else {"kind": "files", "train": source}
    given = {
        "train.compile": compiled, "train.precision": precision, "data.length": length, "data.source": files
    }  # fmt: skip
    return replace(recipe, {path: value for path, value in given.items() if value is not None})
