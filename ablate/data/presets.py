"""Corpora of the literature: where the hub has them, under which licence, and how large they are.

Sizes are those of the dataset cards (text, uncompressed), for planning; what was read stands in the manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CorpusName = Literal[
    "wikipedia",
    "bookcorpus",
    "bookcorpus-wikipedia",
    "c4",
    "oscar",
    "openwebtext",
    "pile",
    "pile-natural",
    "fineweb-edu",
    "tinystories",
    "cosmopedia",
]


@dataclass(frozen=True)
class Hub:
    """A dataset, and how to read it."""

    name: str
    config: str | None = None
    column: str = "text"
    where: str | None = None
    revision: str | None = None
    validation: str | None = None


@dataclass(frozen=True)
class Corpus:
    """What a name stands for."""

    parts: tuple[Hub, ...]
    licence: str
    size: str


# Datasets that are still a script on their main branch are read from the hub's own conversion to parquet:
# `datasets` 4 and later run no scripts.
_PARQUET = "refs/convert/parquet"
_WIKIPEDIA = Hub("wikimedia/wikipedia", "20231101.en")
_BOOKCORPUS = Hub("bookcorpus/bookcorpus", revision=_PARQUET)
_PILE = "monology/pile-uncopyrighted"

CORPORA: dict[str, Corpus] = {
    "wikipedia": Corpus((_WIKIPEDIA,), "CC BY-SA 3.0 and GFDL", "6.4 M articles, 20 GB"),
    # Rows are sentences, so a [SEP] follows each of them unless data.separator is off.
    "bookcorpus": Corpus((_BOOKCORPUS,), "unknown; scraped from smashwords.com", "74 M sentences, 4.9 GB"),
    "bookcorpus-wikipedia": Corpus(
        (_BOOKCORPUS, _WIKIPEDIA),
        "bookcorpus: unknown; wikipedia: CC BY-SA 3.0 and GFDL",
        "25 GB",
    ),
    "c4": Corpus(
        (Hub("allenai/c4", "en", validation="validation"),),
        "ODC-BY, and Common Crawl's terms of use",
        "365 M pages, 800 GB",
    ),
    "oscar": Corpus(
        (Hub("oscar-corpus/OSCAR-2301", "en", revision=_PARQUET),),
        "CC0 for the packaging; gated: accept its terms and log in to the hub",
        "1 G pages, 3.2 TB",
    ),
    "openwebtext": Corpus((Hub("Skylion007/openwebtext"),), "CC0 for the packaging", "8.0 M pages, 40 GB"),
    "pile": Corpus((Hub(_PILE),), "as its parts; those under copyright are left out", "177 M texts, 600 GB"),
    # The reference's natural subset less Books3, which is no longer offered.
    "pile-natural": Corpus(
        (Hub(_PILE, where="meta.pile_set_name=Gutenberg (PG-19)|Wikipedia (en)"),),
        "public domain in the US; CC BY-SA 3.0",
        "some 17 GB of the 600 GB that are read through",
    ),
    "fineweb-edu": Corpus(
        (Hub("HuggingFaceFW/fineweb-edu", "sample-10BT"),),
        "ODC-BY, and Common Crawl's terms of use; chosen by a classifier with pretrained parts",
        "9.7 M pages, 10 G tokens",
    ),
    "tinystories": Corpus(
        (Hub("roneneldan/TinyStories", validation="validation"),),
        "CDLA-Sharing-1.0; written by GPT-3.5 and GPT-4",
        "2.1 M stories, 1.9 GB",
    ),
    "cosmopedia": Corpus(
        tuple(
            Hub("HuggingFaceTB/cosmopedia", part)
            for part in ("openstax", "stanford", "khanacademy", "stories", "wikihow", "auto_math_text",
                         "web_samples_v1", "web_samples_v2")
        ),
        "Apache-2.0; written by Mixtral-8x7B-Instruct",
        "31 M texts, 92 GB",
    ),
}  # fmt: skip
