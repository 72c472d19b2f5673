"""What the quality classifier sees of a document: vectors of the corpus's own, or a pretrained model's."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np

from ablate.data.errors import DataError
from ablate.knobs import Config, Knob

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Embedder(Protocol):
    """Texts to vectors; picklable."""

    def __call__(self, texts: list[str]) -> np.ndarray: ...


class TfidfSvd(Config):
    """Latent semantic analysis fitted to a sample of the corpus (Deerwester et al. 1990)."""

    kind: Literal["tfidf-svd"] = "tfidf-svd"
    width: Annotated[int, Knob("dimensions", 8, 1024, log=True)] = 128
    features: Annotated[int, Knob("most frequent words that count", 100, 200_000, log=True)] = 20_000

    def problems(self) -> list[str]:
        return []

    def fingerprint(self) -> dict[str, Any]:
        return self.model_dump()

    def fit(self, texts: list[str]) -> Embedder:
        """An embedder of the texts' own words. Raises DataError when there are too few."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import Normalizer

        tfidf = TfidfVectorizer(max_features=self.features, sublinear_tf=True, dtype=np.float32)
        try:
            words = tfidf.fit_transform(texts).shape[1]
        except ValueError as error:
            raise DataError(f"the quality classifier needs words in the corpus; {error}") from error
        width = min(self.width, words - 1, len(texts) - 1)
        if width < 1:
            raise DataError(
                f"the quality classifier needs some documents and words; there are {len(texts)} and {words}; "
                "add text, or leave the stage out"
            )
        svd = TruncatedSVD(width, random_state=0)
        return _Fitted(make_pipeline(tfidf, svd, Normalizer(copy=False)).fit(texts))


class _Fitted:
    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __call__(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.pipeline.transform(texts))


class Pretrained(Config):
    """A pretrained encoder from a folder or the hub, averaged over tokens, as sentence-transformers do."""

    kind: Literal["pretrained"] = "pretrained"
    model: Annotated[str, Knob("folder, or name on the hub", cost="a forward pass over every document")] = (
        "sentence-transformers/all-MiniLM-L6-v2"
    )
    tokens: Annotated[int, Knob("first tokens of a document that are read", 16, 512, log=True)] = 256

    @property
    def breaks_strict(self) -> str | None:
        return f"documents are embedded by {self.model}, a pretrained model"

    def problems(self) -> list[str]:
        if self.model.startswith((".", "/", "~")) and not Path(self.model).expanduser().is_dir():
            return [f"a pretrained embedding needs a folder or a name on the hub; {self.model} is no folder"]
        try:
            import transformers  # noqa: F401
        except ImportError:
            return [
                "a pretrained embedding needs the package transformers; it is not installed; "
                "pip install 'ablate-bert[export]'"
            ]
        return []

    def fingerprint(self) -> dict[str, Any]:
        from ablate.data.files import digest

        folder = Path(self.model).expanduser()
        weights = [digest(path) for path in sorted(folder.glob("*")) if path.is_file()]
        return {**self.model_dump(), "files": weights}

    def fit(self, texts: list[str]) -> Embedder:
        """Nothing is fitted."""
        return functools.partial(_encode, self.model, self.tokens)


@functools.lru_cache(maxsize=1)
def _loaded(name: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(Path(name).expanduser() if name.startswith("~") else name)
        return tokenizer, AutoModel.from_pretrained(name).eval()
    except (OSError, ValueError) as error:
        raise DataError(
            f"a pretrained embedding needs a folder or a name on the hub that transformers can load; "
            f"'{name}' cannot be ({error}); correct data.cleaning.quality.embedding.model"
        ) from error


def _encode(name: str, tokens: int, texts: list[str]) -> np.ndarray:
    """Mean of the last layer over the tokens of each text, of unit length."""
    import torch

    tokenizer, model = _loaded(name)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                texts[start : start + 32],
                padding=True,
                truncation=True,
                max_length=tokens,
                return_tensors="pt",
            )
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            found.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
    return np.concatenate(found)
