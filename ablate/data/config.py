"""DataConfig: the text, its tokens and their order. No torch here, and no heavy library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from ablate.data.cleaning.config import Cleaning
from ablate.data.errors import DataError
from ablate.data.order import Order
from ablate.data.sources import FilesSource, HubSource, LocalSource, SourceConfig
from ablate.data.tokenizer import TokenizerConfig, WordPiece
from ablate.knobs import Config, Knob

if TYPE_CHECKING:
    from ablate.recipe import Recipe

SMALL = 1_000_000  # bytes


class DataConfig(Config):
    """Everything that decides which tokens a trial reads; the defaults are the crammed recipe's."""

    source: Annotated[
        SourceConfig,
        Knob(
            "where the text comes from",
            paper="Table 2: 75.9 (C4) to 79.1 (OSCAR) unfiltered; the Pile best with filter and order, 80.1",
        ),
    ] = HubSource()
    tokenizer: Annotated[
        TokenizerConfig,
        Knob("how text becomes tokens", paper="4.1: BPE and unigram pieces make no significant difference"),
    ] = WordPiece()
    cleaning: Cleaning = Cleaning()
    length: Annotated[
        int,
        Knob(
            "tokens per row",
            16,
            1024,
            log=True,
            paper="4.1: 128 is enough for GLUE and makes special attention kernels pointless",
            cost="attention grows with its square, 3 % of the FLOPs at 128",
        ),
    ] = 128
    separator: Annotated[
        bool, Knob("a [SEP] after each document", paper="4.1: dropping it hardly matters")
    ] = True
    cls: Annotated[bool, Knob("a [CLS] before each document", paper="4.1: no effect")] = False
    attention: Annotated[
        Literal["row", "document"],
        Knob(
            "what a token of packed rows attends to: the whole row, or its own document in it",
            paper="4.1: rows of several documents are not told apart",
        ),
    ] = "row"
    order: Annotated[
        Order,
        Knob(
            "order of the rows",
            paper="4.4, Table 2: sorting adds 0.8 on the filtered Pile, -0.3 on C4, 0.0 on OSCAR",
        ),
    ] = "sentence-length"
    reverse: Annotated[
        bool, Knob("read them from the end of the order", paper="the reference scripts a reversed curriculum")
    ] = False
    sorted_passes: Annotated[
        int | None,
        Knob(
            "passes that keep the order, as a curriculum does; later ones are random; none: all keep it",
            1,
            100,
        ),
    ] = 1
    token_ratio: Annotated[
        float | None,
        Knob(
            "keep a document if it has fewer tokens than this times its characters; none keeps all",
            0.15,
            1.0,
            paper="4.4, Table 2: filtering adds 3.4 on C4, 1.1 on the Pile, 0.1 on OSCAR",
            cost="the ratio depends on the vocabulary: a small one needs a larger ratio",
        ),
    ] = 0.25
    tokens: Annotated[
        int | None,
        Knob(
            "training tokens to keep, rows drawn at random; for comparing sources at equal size",
            1e4,
            1e12,
            log=True,
        ),
    ] = None

    def inert(self, recipe: Recipe) -> Iterable[str]:
        if self.order == "random":
            yield "data.reverse"
            yield "data.sorted_passes"

    def conflicts(self, recipe: Recipe) -> list[str]:
        if self.attention == "row":
            return []
        model, told = recipe.model, []
        if not self.separator:
            told.append(
                "data.attention document tells documents apart by their [SEP]; set data.separator: true"
            )
        if not model.attention.score_heads(model) or model.stack.kind == "funnel":
            told.append(
                "data.attention document acts on the attention scores of whole rows, which model.attention "
                f"{model.attention.kind} with model.stack {model.stack.kind} lacks; take softmax and plain"
            )
        return told


def check(config: DataConfig) -> list[str]:
    """Problems that can be found without reading the text, each with the rule, the fact and the way out."""
    found = [*config.source.problems(), *config.tokenizer.problems(), *config.cleaning.problems()]
    return found or _too_small(config)


def _too_small(config: DataConfig) -> list[str]:
    """A corpus of at most a megabyte is read whole, so that an empty one is told before anything starts."""
    source = config.source
    if not isinstance(source, (LocalSource, FilesSource)) or source.size() > SMALL:
        return []
    try:
        texts = [text for text in source.documents("train") if text.strip()]
    except DataError as error:
        return [str(error)]
    rule = (
        f"the training text of source '{source.short()}' must fill at least one row of {config.length} tokens"
    )
    characters = sum(map(len, texts))  # a token is at least one character
    if characters >= config.length:
        return []
    return [
        f"{rule}; its {len(texts)} documents hold {characters} characters; correct the source, or add text"
    ]
