"""Reports: joining them does not depend on how documents were divided, and they survive JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from ablate.data.cleaning import Document, Report, rank

documents = st.lists(st.text(max_size=20), max_size=60).map(
    lambda texts: [Document(str(i), text) for i, text in enumerate(texts)]
)


def reported(shard: list[Document]) -> Report:
    report = Report("halves", facts={"threshold": 0.5})
    for document in shard:
        report.details = {"seen": report.details.get("seen", 0) + 1}
        if rank(document.id) % 2:
            report.keep(document._replace(text=document.text.lower()), document)
        else:
            report.drop(document, "even" if len(document.text) % 2 else "odd")
    return report


@given(documents, st.integers(0, 60), st.integers(0, 60))
def test_reports_of_any_shards_join_to_the_report_of_the_whole(shard: list, a: int, b: int) -> None:
    a, b = sorted((a, b))
    parts = [reported(shard[:a]), reported(shard[a:b]), reported(shard[b:])]
    whole = reported(shard)
    left, right = parts[0] + parts[1] + parts[2], parts[2] + (parts[1] + parts[0])
    assert left == right
    assert left == whole


@given(documents)
def test_every_document_is_kept_or_dropped_and_a_report_survives_json(shard: list) -> None:
    report = reported(shard)
    assert report.documents_in == len(shard) == report.documents_out + sum(report.dropped.values())
    assert report.documents_out == sum(report.lengths.values())
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert len(report.kept_examples) <= 20 >= len(report.dropped_examples)


def test_examples_are_a_fixed_random_sample_of_ids() -> None:
    shard = [Document(str(i), "Text") for i in range(1000)]
    kept = [example.id for example in reported(shard).kept_examples]
    expected = sorted((i for i in map(str, range(1000)) if rank(i) % 2), key=rank)[:20]
    assert kept == expected
