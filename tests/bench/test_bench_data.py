"""The bench of the data path: what is repeated differs, and both makers of batches hide the same share."""

import random

import numpy as np
import pytest

from ablate.bench import data
from ablate.data import Batches, DataConfig, GrammarSource, WordPiece, prepare
from ablate.data.tokenizer import MASK


def test_a_corpus_has_its_size_and_its_repetitions_differ(tmp_path):
    source = tmp_path / "one.txt"
    source.write_text("a b c d e f g h i j " * 2000)
    sample = data.write_corpus(tmp_path / "corpus.jsonl", str(source), 0.2)
    assert 0.2 <= sum(map(len, sample)) / 1e6 < 0.25
    assert len(set(sample)) == len(sample) > 1
    words = sample[0].split(" ")
    edited = data.edit(sample[0], random.Random(1)).split(" ")
    changed = sum(a != b for a, b in zip(words, edited, strict=True))
    assert changed == pytest.approx(len(words) / 50, rel=0.05)


@pytest.mark.slow  # imports transformers and datasets
def test_the_peers_hide_the_same_share_by_the_same_rule(tmp_path, monkeypatch):
    config = DataConfig(
        source=GrammarSource(megabytes=0.5), tokenizer=WordPiece(vocabulary=400), token_ratio=None
    )
    prepared = prepare(config, tmp_path / "cache")
    ours = Batches(
        prepared.train, None, order_seed=1, mask_seed=2, mask_rate=data.RATE, mask_rule="80-10-10",
        vocabulary=prepared.vocabulary,
    ).batch(0, 512)  # fmt: skip
    share, masked = len(ours.labels) / ours.ids.size, (ours.ids == MASK).sum() / ours.ids.size

    import transformers

    made = []
    call = transformers.DataCollatorForLanguageModeling.__call__

    def keeping(self, features, return_tensors=None):
        made.append(call(self, features, return_tensors))
        return made[-1]

    monkeypatch.setattr(transformers.DataCollatorForLanguageModeling, "__call__", keeping)
    for who, maker in data._peers(prepared, 512, tmp_path).items():
        assert maker(0) == ours.ids.size, who
        ids, labels = np.asarray(made[-1]["input_ids"]), np.asarray(made[-1]["labels"])
        assert (labels != -100).mean() == pytest.approx(share, abs=0.02), who
        assert (ids == MASK).mean() == pytest.approx(masked, abs=0.02), who
