"""The quality classifier: few labels extend to a corpus; a judge behind an endpoint is asked once and politely."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ablate.data.cleaning import Document
from ablate.data.cleaning.embeddings import Pretrained
from ablate.data.cleaning.labels import Endpoint, Heuristic, LabelFile, prose
from ablate.data.cleaning.quality import Quality
from ablate.data.errors import DataError
from tests.data.cleaning.corpora import cleaned

GOOD = [
    "theorem",
    "proof",
    "energy",
    "cell",
    "history",
    "reason",
    "measure",
    "observe",
    "evidence",
    "therefore",
]
BAD = ["click", "buy", "cheap", "offer", "winner", "free", "subscribe", "bonus", "deal", "casino"]
PLAIN = [
    "the",
    "of",
    "a",
    "to",
    "in",
    "and",
    "for",
    "on",
    "with",
    "that",
    "it",
    "is",
    "was",
    "as",
    "at",
    "by",
]


def corpus(count: int) -> list[Document]:
    """Documents that are good or bad by a fifth of their words."""
    chance = np.random.Generator(np.random.Philox(key=11))
    texts = []
    for i in range(count):
        words = [*chance.choice(PLAIN, 40), *chance.choice(GOOD if i % 2 else BAD, 10)]
        texts.append(" ".join(chance.permutation(words)))
    return [Document(f"{'good' if i % 2 else 'bad'}-{i}", text) for i, text in enumerate(texts)]


def label_file(tmp_path: Path, name: str = "labels.jsonl", count: int = 120) -> str:
    chance = np.random.Generator(np.random.Philox(key=12))
    rows = [
        {
            "text": " ".join([*chance.choice(PLAIN, 40), *chance.choice(GOOD if i % 2 else BAD, 10)]),
            "label": i % 2,
        }
        for i in range(count)
    ]
    # Sorted by class: the file's order must not decide what is held out.
    (tmp_path / name).write_text("\n".join(json.dumps(row) for row in sorted(rows, key=lambda r: r["label"])))
    return str(tmp_path / name)


def test_labels_extend_to_the_corpus_and_the_best_share_stays(tmp_path: Path) -> None:
    stage = Quality(labels=LabelFile(path=label_file(tmp_path)), keep=0.4)
    kept, report = cleaned(stage, corpus(300))
    assert len(kept) == 120
    assert all(document.id.startswith("good") for document in kept)
    assert report.facts["validation_auc"] > 0.95
    assert report.facts["labels"] == 120
    assert report.dropped == {"below the threshold": 180}
    assert sum(report.details["scores"].values()) == 300


def test_labels_without_meaning_have_an_auc_near_a_half(tmp_path: Path) -> None:
    path = tmp_path / "random.jsonl"
    chance = np.random.Generator(np.random.Philox(key=5))
    rows = [{"text": d.text, "label": int(chance.integers(2))} for d in corpus(1000)]
    path.write_text("\n".join(map(json.dumps, rows)))
    _, report = cleaned(Quality(labels=LabelFile(path=str(path))), corpus(100))
    assert report.facts["validation_auc"] == pytest.approx(0.5, abs=0.12)  # 200 held out: error 0.041


def test_marks_are_cut_at_the_limit_and_true_and_false_are_labels(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    rows = [{"words": f"text {i}", "mark": mark} for i, mark in enumerate([0, 2, 3, 5, "true", "False"])]
    path.write_text("\n".join(map(json.dumps, rows)))
    labels = LabelFile(path=str(path), text="words", label="mark", good=3)
    assert {one.text: one.good for one in labels.of([])} == {
        "text 0": False, "text 1": False, "text 2": True, "text 3": True, "text 4": False, "text 5": False,
    }  # fmt: skip


def test_a_rule_of_thumb_tells_prose_from_debris() -> None:
    story = (
        "The keeper of the lighthouse had seen the storm before anyone. He lit the lamp and waited for dawn."
    )
    debris = "Home | Login | Cart\nHome | Login | Cart\nPrice: 9.99\nAdd\nAdd"
    assert prose(story) > prose(debris)
    labelled = Heuristic().of(
        [Document(str(i), text) for i, text in enumerate([story, debris, story[:50]] * 20)]
    )
    assert {one.text for one in labelled if one.good} == {story}
    assert debris in {one.text for one in labelled if not one.good}


def test_only_what_is_pretrained_breaks_the_strict_rules(tmp_path: Path) -> None:
    path = label_file(tmp_path)
    assert Quality().breaks_strict is None
    assert Quality(labels=LabelFile(path=path)).breaks_strict is None
    assert "pretrained" in (Quality(labels=LabelFile(path=path, by="model")).breaks_strict or "")
    assert "judge" in (Quality(labels=Endpoint()).breaks_strict or "")
    both = Quality(labels=Endpoint(), embedding=Pretrained(model="x/y")).breaks_strict
    assert both is not None
    assert "judge" in both
    assert "x/y" in both


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "a", "label": "high"}], "must be numbers"),
        ([{"text": "a", "mark": 1}], "no column 'label'"),
        (None, "matches none"),
    ],
)
def test_a_file_of_labels_is_checked_beforehand(tmp_path: Path, rows: list | None, said: str) -> None:
    path = tmp_path / "labels.jsonl"
    if rows is not None:
        path.write_text("\n".join(map(json.dumps, rows)))
    (problem,) = Quality(labels=LabelFile(path=str(path))).problems()
    assert said in problem


def test_labels_of_one_class_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"good text {i}", "label": 1}) for i in range(50)))
    with pytest.raises(DataError, match="of 50 50 are good"):
        cleaned(Quality(labels=LabelFile(path=str(path))), corpus(50))


# --- an endpoint -------------------------------------------------------------------------------------


class Judge:
    """A stand-in for an OpenAI-compatible server on loopback: 5 for good words, 1 for bad ones."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []  # path, authorization, body
        self.failures = 0  # requests still to be answered with 429
        self.key: str | None = None
        self.reply: str | None = None  # instead of a mark
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.asked.append((self.path, self.headers["Authorization"], body))
                status, answer = judge.answer(self.headers["Authorization"], body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def answer(self, authorization: str | None, body: dict[str, Any]) -> tuple[int, Any]:
        if self.key is not None and authorization != f"Bearer {self.key}":
            return 401, {"error": "no key"}
        if self.failures > 0:
            self.failures -= 1
            return 429, {"error": "slow down"}
        text = body["messages"][0]["content"].split("Extract:")[-1]
        mark = "5" if set(text.split()) & set(GOOD) else "I would say 1."
        return 200, {"choices": [{"message": {"content": self.reply or mark}}]}


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setattr("ablate.data.cleaning.labels.PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    standing = Judge()
    yield standing
    standing.server.shutdown()
    standing.thread.join()
    standing.server.server_close()


def asking(judge: Judge, **knobs: Any) -> Quality:
    return Quality(labels=Endpoint(url=judge.url, model="stand-in", seeds=60, **knobs), keep=0.5)


def test_a_judges_marks_extend_to_the_corpus(judge: Judge) -> None:
    kept, report = cleaned(asking(judge), corpus(300))
    assert len(kept) == 150
    assert all(document.id.startswith("good") for document in kept)
    assert len(judge.asked) == 60 == report.facts["labels"]
    path, _, body = judge.asked[0]
    assert path == "/v1/chat/completions"
    assert body["model"] == "stand-in"
    assert body["temperature"] == 0


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge.key = "secret-9d1f"
    monkeypatch.setenv("JUDGE_KEY", judge.key)
    stage = asking(judge, key="JUDGE_KEY", save=str(tmp_path / "marks.jsonl"))
    _, report = cleaned(stage, corpus(100))
    assert {authorization for _, authorization, _ in judge.asked} == {"Bearer secret-9d1f"}
    written = (tmp_path / "marks.jsonl").read_text()
    assert judge.key not in json.dumps([written, stage.fingerprint(), stage.model_dump(), report.to_dict()])


def test_saved_marks_are_not_asked_for_again(judge: Judge, tmp_path: Path) -> None:
    stage = asking(judge, save=str(tmp_path / "marks.jsonl"))
    first = cleaned(stage, corpus(100))
    with open(tmp_path / "marks.jsonl", "a") as file:
        file.write('{"id": "torn')  # of a preparation that was killed
    judge.asked.clear()
    assert cleaned(stage, corpus(100)) == first
    assert judge.asked == []


def test_a_busy_endpoint_is_asked_again(judge: Judge) -> None:
    judge.failures = 10
    _, report = cleaned(asking(judge), corpus(100))
    assert report.facts["labels"] == 60
    assert len(judge.asked) == 70


def test_what_an_endpoint_does_wrong_is_told_with_a_way_out(judge: Judge) -> None:
    judge.reply = "What a lovely text!"
    with pytest.raises(DataError, match="did so for 0 of 60 documents"):
        cleaned(asking(judge), corpus(100))
    judge.key = "needed"
    with pytest.raises(DataError, match="answered 401; correct url or model, or set OPENAI_API_KEY"):
        cleaned(asking(judge), corpus(100))
    gone = Quality(labels=Endpoint(url="http://127.0.0.1:9/v1", seeds=20))
    with pytest.raises(DataError, match="gave no answer in 4 tries"):
        cleaned(gone, corpus(100))


def test_an_endpoint_is_checked_beforehand() -> None:
    wrong = Quality(labels=Endpoint(url="localhost:8000", prompt="Is it good?"))
    assert [problem.split(";")[0] for problem in wrong.problems()] == [
        "an endpoint begins with http:// or https://", "the prompt must hold {text}, where the document goes",
    ]  # fmt: skip


# --- a pretrained embedding --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random tiny BERT in the layout of a downloaded model."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PLAIN, *GOOD, *BAD]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_a_pretrained_encoder_gives_the_vectors(encoder: Path, tmp_path: Path) -> None:
    stage = Quality(
        labels=LabelFile(path=label_file(tmp_path)), embedding=Pretrained(model=str(encoder), tokens=64)
    )
    assert stage.problems() == []
    kept, report = cleaned(stage, corpus(100))
    assert len(kept) == 50
    assert report.facts["validation_auc"] > 0.8


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: Path) -> None:
    embed = Pretrained(model=str(encoder)).fit([])
    texts = [document.text[: 20 + 10 * i] for i, document in enumerate(corpus(9))]
    assert embed(texts) == pytest.approx(np.concatenate([embed([text]) for text in texts]), abs=1e-5)
    assert np.linalg.norm(embed(texts), axis=1) == pytest.approx(1, abs=1e-5)


def test_a_missing_encoder_is_told() -> None:
    assert "is no folder" in Quality(embedding=Pretrained(model="./nowhere")).problems()[0]
