"""Every setting of every stage changes what is kept or what is reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.data.cleaning import Cleaning, Document
from ablate.knobs import Choice, KnobInfo, Number, Variants, knobs, replace
from tests.data.cleaning.corpora import cleaned, generated

# What must surround a setting for it to matter on this corpus.
CONTEXT: dict[str, dict[str, Any]] = {
    "rules": {"min_words": 0, "min_stop_words": 0, "max_symbols": 1.0, "max_repeated_lines": 1.0,
              "min_word_length": 0.0, "max_word_length": 100.0},
    "quality": {"embedding": {"kind": "tfidf-svd", "width": 16}},
}  # fmt: skip

VALUES: dict[str, Any] = {
    "rules[rules].min_characters": 500,
    "rules[rules].max_characters": 300,
    "rules[rules].min_words": 80,
    "rules[rules].min_word_length": 4.5,
    "rules[rules].max_word_length": 4.5,
    "rules[rules].max_symbols": 0.04,
    "rules[rules].max_repeated_lines": 0.2,
    "rules[rules].min_stop_words": 6,
    "language[langid].language": "de",
    "language[langid].certainty": 1.0,
    "exact[exact-substrings].length": 200,
    "duplicates[minhash].threshold": 0.3,
    "duplicates[minhash].ngram": 1,
    "decontaminate[decontaminate].ngram": 6,
    "decontaminate[decontaminate].sentence": 6,
    "quality[classifier].labels[heuristic].seeds": 100,
    "quality[classifier].embedding[tfidf-svd].features": 100,
    "quality[classifier].keep": 0.2,
    "resample[dsir].column": "title",
    "resample[dsir].keep": 0.2,
    "resample[dsir].ngrams": 1,
    "resample[dsir].buckets": 100,
    "resample[dsir].excerpt": 100,
}

# Settings of what a test stands up a server, a file or a model for.
ELSEWHERE = ("quality[classifier].labels[endpoint]", "quality[classifier].labels[file]",
             "quality[classifier].embedding[pretrained]")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Target texts, and a task whose sentences lie in the corpus: long, short and very short."""
    folder = tmp_path_factory.mktemp("knobs")
    target = generated(30, seed=7)
    rows = [{"text": d.text, "title": " ".join(reversed(d.text.split()))} for d in target]
    (folder / "target.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "other.jsonl").write_text(json.dumps({"text": "the king saw the hare. " * 20}))
    sentences = ["A few words here.", " ".join(corpus()[4].text.split()[:9])]
    (folder / "task.jsonl").write_text("\n".join(json.dumps({"sentence": s}) for s in sentences))
    for i, split in enumerate(("train", "validation", "test")):
        (folder / "glue/cola").mkdir(parents=True, exist_ok=True)
        sentence = " ".join(corpus()[10 + i].text.split()[:15])
        pd.DataFrame({"sentence": [sentence]}).to_parquet(folder / f"glue/cola/{split}.parquet")
    return folder


def corpus() -> list[Document]:
    plain = [d._replace(text=d.text.capitalize()) for d in generated(300, characters=400)]
    copies = [Document(f"copy-{d.id}", d.text[:150] + "\n" + d.text) for d in plain[:5]]
    loose = [Document(f"loose-{d.id}", " ".join(sorted(d.text.split()))) for d in plain[5:8]]
    odd = ["Ein Satz auf Deutsch, der für sich steht und über alles Mögliche spricht.", "A  few words here.",
           "one line\none line\none line", "Über  naïve café 你好\n\n\nfine."]  # fmt: skip
    return plain + copies + loose + [Document(f"odd-{i}", text) for i, text in enumerate(odd)]


def others(knob: KnobInfo, folder: Path) -> list[Any]:
    """Levels beside the default."""
    files = {
        "decontaminate[decontaminate].files": [(str(folder / "task.jsonl"), str(folder / "other.jsonl"))],
        "decontaminate[decontaminate].tasks": [("sentiment",)],
        "resample[dsir].target": [str(folder / "other.jsonl")],
    }
    if knob.name in VALUES or knob.name in files:
        return files.get(knob.name, [VALUES.get(knob.name)])
    if isinstance(knob.domain, Choice):
        return [level for level in knob.domain.levels if level != knob.default]
    assert isinstance(knob.domain, Number), f"{knob.name} takes any {knob.domain}: give a value in VALUES"
    assert knob.domain.low is not None
    return [int(knob.domain.low) if knob.domain.integer else knob.domain.low]


SETTINGS = [
    knob for knob in knobs(Cleaning)
    if "." in knob.name and not isinstance(knob.domain, Variants) and not knob.name.startswith(ELSEWHERE)
]  # fmt: skip


@pytest.mark.parametrize("knob", SETTINGS, ids=lambda knob: knob.name)
def test_a_setting_bites(knob: KnobInfo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(folder))
    top = knob.path.split(".")[0]
    here = {
        "decontaminate": {"tasks": ["cola"], "files": [str(folder / "task.jsonl")], "sentence": 4},
        "resample": {"target": str(folder / "target.jsonl")},
    }.get(top, CONTEXT.get(top, {}))
    kind = next(info.domain.levels[-1] for info in knobs(Cleaning) if info.path == top)
    base = Cleaning.model_validate({top: {"kind": kind, **here}})
    seen = cleaned(base.stages()[0], corpus())
    for level in others(knob, folder):
        changed = replace(base, {knob.path: level})
        assert changed != base
        assert cleaned(changed.stages()[0], corpus()) != seen
