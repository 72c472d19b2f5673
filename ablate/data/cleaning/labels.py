"""Seed labels for the quality classifier: a file, a language model behind an endpoint, or a rule of thumb."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from ablate.data import files
from ablate.data.cleaning.interface import Document, rank
from ablate.data.cleaning.places import found
from ablate.data.cleaning.rules import STOP_WORDS
from ablate.data.errors import DataError
from ablate.knobs import Config, Knob

if TYPE_CHECKING:
    import requests

TRIES = 4  # of a request that the endpoint could not answer for now
PAUSE = 0.5  # seconds before the second try; four times as long before each further one
AT_ONCE = 8  # requests
TIMEOUT = 60.0  # seconds

PROMPT = """Below is an extract from a document. Rate from 0 to 5 how much a careful reader would learn from \
it about the world and about clear writing: 0 for spam or debris, 3 for coherent and informative text, 5 for \
an outstanding textbook passage. Answer with the number alone.

Extract:
{text}"""


class Labelled(NamedTuple):
    """A text and whether it is good."""

    text: str
    good: bool


class LabelFile(Config):
    """Labels in a file of texts: true and false, 1 and 0, or marks of which the higher ones are good."""

    kind: Literal["file"] = "file"
    path: Annotated[str, Knob("labelled texts (.parquet, .jsonl); below ABLATE_DATA too if relative")] = (
        "labels.jsonl"
    )
    text: Annotated[str, Knob("field that holds the text")] = "text"
    label: Annotated[str, Knob("field that holds the label")] = "label"
    good: Annotated[float, Knob("smallest label that is good", -1e6, 1e6)] = 1.0
    by: Annotated[
        Literal["people", "model"], Knob("who gave the labels; a pretrained model breaks the strict rules")
    ] = "people"

    @property
    def breaks_strict(self) -> str | None:
        return "the seed labels are a pretrained model's" if self.by == "model" else None

    def _rows(self) -> Any:
        from ablate.evaluation.sources import FileSplit, TaskError

        try:
            return FileSplit(found(self.path)[0]).read([self.text, self.label])
        except (DataError, TaskError) as error:
            raise DataError(f"cleaning stage 'quality' needs seed labels: {error}") from error

    def problems(self) -> list[str]:
        try:
            marks = self._rows()[self.label]
            for mark in marks:
                self._good(mark)
        except DataError as error:
            return [str(error)]
        return []

    def fingerprint(self) -> dict[str, Any]:
        return {**self.model_dump(), "file": files.digest(found(self.path)[0])}

    def of(self, sample: list[Document]) -> list[Labelled]:
        """The labels of the file; the corpus is not looked at."""
        rows = self._rows()
        pairs = zip(rows[self.text], rows[self.label], strict=True)
        labelled = [Labelled(str(text), self._good(mark)) for text, mark in pairs]
        # In an order of their own, so that sorted files do not put one class into the held-out part.
        return sorted(labelled, key=lambda one: rank(one.text))

    def _good(self, mark: Any) -> bool:
        said = str(mark).lower()
        try:
            return float({"true": 1, "false": 0}.get(said, said)) >= self.good
        except ValueError:
            raise DataError(
                f"labels in {self.path} must be numbers, or true and false; one is '{mark}'; correct the file"
            ) from None


class Heuristic(Config):
    """Marks by rule of thumb: the third of a sample most like running prose is good, the last third bad."""

    kind: Literal["heuristic"] = "heuristic"
    seeds: Annotated[int, Knob("documents that are marked", 100, 20_000, log=True)] = 3000

    def problems(self) -> list[str]:
        return []

    def fingerprint(self) -> dict[str, Any]:
        return self.model_dump()

    def of(self, sample: list[Document]) -> list[Labelled]:
        """The best and the worst third of the first documents of the sample."""
        texts = [document.text for document in sample[: self.seeds]]
        marks = sorted(map(prose, texts))
        low, high = (marks[int(len(marks) * share)] if marks else 0.0 for share in (1 / 3, 2 / 3))
        marked = ((text, prose(text)) for text in texts)
        return [Labelled(text, mark >= high) for text, mark in marked if mark >= high or mark < low]


def prose(text: str) -> float:
    """How much a text looks like running prose, 0 to 3: whole sentences, function words, varied words."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = [word.strip(".,;:!?\"'()").lower() for word in text.split()[:300]]
    if not words or not lines:
        return 0.0
    ended = sum(len(line) for line in lines if line[-1] in ".!?\"'") / sum(map(len, lines))
    function = sum(word in STOP_WORDS for word in words) / len(words)
    return ended + min(1.0, 5 * function) + min(1.0, len(set(words)) / (0.6 * len(words)))


class Endpoint(Config):
    """Marks from 0 to 5 by a language model behind any OpenAI-compatible endpoint, as phi-1 let GPT-4 judge.

    The key is read from the environment and goes nowhere else. `save` keeps the marks, so that a second
    preparation asks, and pays, for nothing twice.
    """

    kind: Literal["endpoint"] = "endpoint"
    url: Annotated[str, Knob("base address, up to /v1")] = "http://127.0.0.1:8000/v1"
    model: Annotated[str, Knob("name that the endpoint knows the model by")] = "judge"
    key: Annotated[str, Knob("environment variable that holds the key, if one is needed")] = "OPENAI_API_KEY"
    seeds: Annotated[int, Knob("documents that are marked", 20, 20_000, log=True, cost="a request each")] = (
        1000
    )
    good: Annotated[int, Knob("smallest mark that is good (FineWeb-Edu: 3)", 1, 5)] = 3
    prompt: Annotated[str, Knob("the question; {text} is replaced by the document's excerpt")] = PROMPT
    save: Annotated[str | None, Knob("file to keep the marks in (.jsonl)")] = None

    @property
    def breaks_strict(self) -> str | None:
        return f"the seed labels are those of {self.model}, a pretrained model"

    def problems(self) -> list[str]:
        found = []
        if not self.url.startswith(("http://", "https://")):
            found.append(f"an endpoint begins with http:// or https://; it is '{self.url}'; correct the url")
        if "{text}" not in self.prompt:
            found.append("the prompt must hold {text}, where the document goes; it does not; put it in")
        return found

    def fingerprint(self) -> dict[str, Any]:
        # Where the same model answers, and where its marks are kept, does not matter.
        return self.model_dump(exclude={"key", "save"})

    def of(self, sample: list[Document]) -> list[Labelled]:
        """The first documents of the sample, marked. Raises DataError when the endpoint cannot be used."""
        import requests

        chosen = sample[: self.seeds]
        marks = self._kept()
        secret = os.environ.get(self.key)
        missing = [document for document in chosen if document.text not in marks]
        with requests.Session() as client, ThreadPoolExecutor(AT_ONCE) as pool:
            client.headers.update({"Authorization": f"Bearer {secret}"} if secret else {})
            # In slices, so that a failure is told before thousands of requests wait behind it.
            for start in range(0, len(missing), 8 * AT_ONCE):
                part = missing[start : start + 8 * AT_ONCE]
                answers = list(pool.map(lambda document: self._ask(client, document.text), part))
                self._keep(part, answers)
                marks |= {d.text: mark for d, mark in zip(part, answers, strict=True)}
        found = [(document.text, marks[document.text]) for document in chosen]
        useful = [Labelled(text, mark >= self.good) for text, mark in found if mark is not None]
        if 2 * len(useful) < len(chosen):
            raise DataError(
                f"an endpoint must answer with a number from 0 to 5; '{self.model}' did so for {len(useful)} "
                f"of {len(chosen)} documents; correct the prompt, or ask another model"
            )
        return useful

    def _ask(self, client: requests.Session, text: str) -> int | None:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.prompt.replace("{text}", text)}],
            "temperature": 0,
            "max_tokens": 8,
        }
        answer = self._post(client, body)
        try:
            said = str(answer["choices"][0]["message"]["content"])
        except (KeyError, IndexError, TypeError):
            raise DataError(
                f"an endpoint must answer as OpenAI's chat completions do; {self.url} gave "
                f"{json.dumps(answer)[:200]}; correct the url"
            ) from None
        mark = re.search(r"\b[0-5]\b", said)
        return int(mark.group()) if mark else None

    def _post(self, client: requests.Session, body: dict[str, Any]) -> Any:
        import requests

        address, told = f"{self.url.rstrip('/')}/chat/completions", ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE * 4 ** (attempt - 1))
            try:
                response = client.post(address, json=body, timeout=TIMEOUT)
            except requests.RequestException as error:
                told = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == 429 or response.status_code >= 500:
                told = f"status {response.status_code}"
                continue
            if response.status_code != 200:
                raise DataError(
                    f"the endpoint {address} must accept the request; it answered {response.status_code}; "
                    f"correct url or model, or set {self.key} to a valid key"
                )
            try:
                return response.json()
            except ValueError:
                raise DataError(
                    f"the endpoint {address} must answer in JSON; it does not; correct the url"
                ) from None
        raise DataError(f"the endpoint {address} gave no answer in {TRIES} tries ({told}); is it running?")

    def _kept(self) -> dict[str, int | None]:
        if self.save is None or not Path(self.save).is_file():
            return {}
        return {row["text"]: row["mark"] for row in self._rows(Path(self.save)) if row["model"] == self.model}

    def _rows(self, path: Path) -> Iterator[dict[str, Any]]:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a preparation that was killed

    def _keep(self, documents: list[Document], marks: list[int | None]) -> None:
        if self.save is None:
            return
        with open(self.save, "a", encoding="utf-8") as file:
            for document, mark in zip(documents, marks, strict=True):
                row = {"id": document.id, "model": self.model, "mark": mark, "text": document.text}
                file.write(json.dumps(row) + "\n")
