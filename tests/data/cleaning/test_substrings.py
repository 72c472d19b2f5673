"""Exact-substring removal: repeated passages stay once, nothing else is touched."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.data.cleaning import Document, rank
from ablate.data.cleaning.substrings import ExactSubstrings
from tests.data.cleaning.corpora import cleaned, generated, texts_of

LENGTH = 40
WORDS = [
    f"{a}{b}"
    for a in ("stone", "river", "cloud", "ember", "maple")
    for b in ("work", "side", "fall", "light")
]

sentences = st.lists(st.sampled_from(WORDS), min_size=8, max_size=30).map(" ".join)


def windows(text: str, length: int) -> set[str]:
    """Every stretch of so many characters that begins or ends with a word: what is compared, said plainly."""
    places = [(m.start(), m.end() - length) for m in re.finditer(r"\S+", text)]
    return {text[a : a + length] for pair in places for a in pair if 0 <= a <= len(text) - length}


@settings(max_examples=60, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=6), sentences)
def test_no_window_stands_in_two_documents_afterwards(texts: list[str], shared: str) -> None:
    """The passage that every document quotes stays in one of them."""
    documents = [Document(str(i), f"{text} {shared} tail{i}") for i, text in enumerate(texts)]
    kept, _ = cleaned(ExactSubstrings(length=LENGTH), documents)
    seen: dict[str, str] = {}
    before = {window for document in documents for window in windows(document.text, LENGTH)}
    for document in kept:
        # What was cut brings words together that did not stand together: only windows of old are judged.
        for window in windows(document.text, LENGTH) & before:
            assert seen.setdefault(window, document.id) == document.id


@settings(max_examples=60, deadline=None)
@given(st.lists(sentences, min_size=2, max_size=5))
def test_the_document_of_lowest_rank_is_left_whole_but_for_its_own_repetitions(texts: list[str]) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    lowest = min(documents, key=lambda document: rank(document.id))
    (alone,) = cleaned(ExactSubstrings(length=LENGTH), [lowest])[0]
    kept, _ = cleaned(ExactSubstrings(length=LENGTH), documents)
    assert texts_of(kept)[lowest.id] == alone.text


@settings(max_examples=40, deadline=None)
@given(st.lists(sentences, min_size=1, max_size=5))
def test_what_stays_are_whole_words_in_their_order(texts: list[str]) -> None:
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    kept, _ = cleaned(ExactSubstrings(length=LENGTH), documents)
    for document in kept:
        rest = iter(texts_of(documents)[document.id].split())
        assert all(word in rest for word in document.text.split())


def test_a_passage_is_cut_from_the_copy_and_its_length_counted() -> None:
    passage = "the harbour lay empty that morning and nobody on the quay could say when the boats had gone"
    documents = [
        Document("a", f"It all began thus, as far as I recall it now: {passage} before anyone woke."),
        Document("b", f"He slowly wrote down, word by word, what he saw: {passage} and then went home."),
    ]
    kept, report = cleaned(ExactSubstrings(length=50), documents)
    first, copy = sorted(kept, key=lambda document: rank(document.id))
    assert first in documents
    assert copy.text in (
        "It all began thus, as far as I recall it now: before anyone woke.",
        "He slowly wrote down, word by word, what he saw: and then went home.",
    )
    assert report.changed == 1
    assert report.details == {"characters_cut": len(passage) + 1}
    assert report.facts["windows_repeated"] == sum(
        window in documents[1].text for window in windows(documents[0].text, 50)
    )


def test_a_passage_shorter_than_the_length_stays() -> None:
    documents = [Document(str(i), f"{w} nobody on the quay could say {w}") for i, w in enumerate(WORDS[:5])]
    assert cleaned(ExactSubstrings(length=50), documents)[0] == documents


def test_copies_of_a_document_vanish_whole() -> None:
    plain = generated(20)
    copies = [Document(f"copy{i}-{d.id}", d.text) for d in plain for i in range(2)]
    kept, report = cleaned(ExactSubstrings(length=75), plain + copies)
    # A few words may be left of a copy that another document's passage cut into; none is left whole.
    whole = [d for d in kept if d.text in {p.text for p in plain}]
    assert len({d.text for d in whole}) == len(whole)
    assert report.dropped["repeated passages only"] >= 40


def test_letters_of_several_bytes_are_never_broken() -> None:
    passage = "größere Häuser müssen öfter über längere Zeit gelüftet werden, sagen übrigens die Ärzte"
    documents = [Document(str(i), f"{i}é {passage} é{i} {f'Grüße{i} ' * 6}") for i in range(3)]
    kept, report = cleaned(ExactSubstrings(length=50), documents)
    assert all("\ufffd" not in document.text for document in kept)
    assert report.changed == 2
    assert sorted(document.text.split()[:3] for document in kept)[0][1] == "é0" or documents[0] in kept


def test_a_document_left_with_scraps_goes() -> None:
    passage = "the harbour lay empty that morning and nobody on the quay could say when the boats had gone"
    documents = [Document(str(i), f"{i} {passage} {i}") for i in range(3)]
    kept, report = cleaned(ExactSubstrings(length=50), documents)
    assert kept == [min(documents, key=lambda document: rank(document.id))]
    assert report.dropped == {"repeated passages only": 2}
